"""``tandem chat``: a conversation in the terminal, through the same door as any OpenAI client."""

import sys
from collections.abc import Iterable
from typing import Annotated, get_args

from typer import Argument, BadParameter, Option, Typer

from tandem.cli.console import complain, note, say, toned
from tandem.cli.session import open_client
from tandem.client import ChatPiece, TandemClient
from tandem.errors import TandemError
from tandem.schemas.chat import ChatMessage
from tandem.schemas.routing import LaneChoice
from tandem.settings import Settings

_LANES = ", ".join(get_args(LaneChoice))
_LEAVE = frozenset({"/quit", "/exit"})


def build() -> Typer:
    """The command."""
    app = Typer(add_completion=False)
    app.command("chat")(chat)
    return app


def chat(
    text: Annotated[str | None, Argument(metavar="[TEXT]", help="One message; without it a conversation begins.")] = None,
    lane: Annotated[str, Option(help=f"Which mind answers: {_LANES}.")] = "auto",
) -> None:
    """Talk to Tandem. Ctrl-C stops an answer, /quit or Ctrl-D leaves."""
    if lane not in get_args(LaneChoice):
        raise BadParameter(f"--lane {lane!r} is none of {_LANES}")
    with open_client(Settings.load()) as client:
        if text is not None:
            _answer(client, [ChatMessage(role="user", content=text)], lane)
            return
        _converse(client, lane)


def _converse(client: TandemClient, lane: str) -> None:
    history: list[ChatMessage] = []
    note(f"lane {lane}; /deep or /fast at the start of a message forces one; /quit leaves")
    while (text := _ask()) is not None:
        if not text:
            continue
        asked = [*history, ChatMessage(role="user", content=text)]
        try:
            reply = _answer(client, asked, lane)
        except KeyboardInterrupt:
            note(toned("\nstopped; a job that was started goes on", "dim"))
            continue
        except TandemError as error:  # the conversation survives one failed turn
            complain(error.message)
            continue
        history = [*asked, ChatMessage(role="assistant", content=reply)]


def _ask() -> str | None:
    """The next message, stripped; None to leave."""
    try:
        text = input("\nyou> " if sys.stdin.isatty() else "").strip()
    except EOFError:
        return None
    return None if text in _LEAVE else text


def _answer(client: TandemClient, messages: list[ChatMessage], lane: str) -> str:
    """Show one reply as it comes; returns its text."""
    pieces = client.chat(messages, lane)
    try:
        return show_reply(pieces)
    finally:
        pieces.close()


def show_reply(pieces: Iterable[ChatPiece]) -> str:
    """Print lane and job, then progress, then the words; returns the words."""
    words: list[str] = []
    is_mid_line = False
    for number, piece in enumerate(pieces):
        if number == 0:
            note(toned(f"[{piece.lane or 'lane unknown'}]" + (f" job {piece.job_id}" if piece.job_id else ""), "dim"))
        if piece.reasoning:
            note(toned(piece.reasoning, "dim"), end="")
            is_mid_line = not piece.reasoning.endswith("\n")
        if piece.content:
            if is_mid_line:
                note("")
                is_mid_line = False
            words.append(piece.content)
            say(piece.content, end="")
    say()
    return "".join(words)
