"""What a job is called on its card."""

from typing import Final

TITLE_CHARS: Final = 80


def title_of(text: str) -> str:
    """First line of a task, short enough for a card."""
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return line if len(line) <= TITLE_CHARS else f"{line[: TITLE_CHARS - 1].rstrip()}…"
