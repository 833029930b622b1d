"""Names like one that does not exist. Light, for the child imports it too."""

from collections.abc import Sequence
from difflib import get_close_matches


def close_names(name: str, names: Sequence[str]) -> str:
    """For an error message: the names like it, else the first names there are."""
    by_case = {each.casefold(): each for each in names}
    close = [by_case[each] for each in get_close_matches(name.casefold(), list(by_case), 3, 0.5)]
    return f"did you mean {', '.join(close)}?" if close else f"there are: {', '.join(list(names)[:30]) or 'none'}"
