"""A connection to an MCP server that is a program of ours, through its standard input and output.

Covered: only the operator's file says what runs; the program gets PATH, LANG, a HOME of its own and what the file lists, nothing else of this
process's environment; messages and logs of bounded size; garbage on its output is skipped, endless garbage ends it; its process group and whatever
left it are ended with the connection, also when this process is killed (``leash``). Not covered: the program runs as this process's user, with its
files and its network, like any other software that an operator installs.
"""

import asyncio
import os
import shutil
import signal
import sys
from collections import deque
from collections.abc import AsyncIterator
from contextlib import suppress
from contextvars import Context
from itertools import count
from pathlib import Path
from typing import Final

from tandem.schemas.base import JsonObject
from tandem.telemetry import get_logger
from tools.hygiene import cleaned
from tools.mcp.leash import GRACE_S, TERM_S
from tools.mcp.messages import (
    LIST_CHANGED,
    LOST,
    MAX_MESSAGE_BYTES,
    Answer,
    Ask,
    Incoming,
    McpFailed,
    Notice,
    decode,
    encode_cancellation,
    encode_notification,
    encode_reply,
    encode_request,
)
from tools.mcp.servers import Command

MAX_GARBAGE_LINES: Final = 1_000
"""Lines of one session that are no messages: a banner is forgiven, a flood is not."""
MAX_LOGGED_LINES: Final = 50
_LINE_CHARS: Final = 500
_CHUNK: Final = 65_536
_LAST_WORDS: Final = 3
_UNREAD_BYTES: Final = 1_048_576
"""Beyond this much that the server does not read, replies and cancellations are not added."""
_LEASH: Final = Path(__file__).with_name("leash.py")
_EXIT_WAIT_S: Final = 0.5


async def open_stdio(name: str, command: Command, home: Path) -> "StdioConnection":
    """Start a server.

    Args:
        name: For messages and the log.
        command: What to start.
        home: The server's own folder, made when it is not there.

    Raises:
        McpFailed: It cannot be started.
    """
    path = os.environ.get("PATH", os.defpath)
    env = {"PATH": path, "HOME": str(home), "LANG": "C.UTF-8", **command.env}
    program = command.command if os.sep in command.command else shutil.which(command.command, path=env["PATH"])
    if program is None:
        raise McpFailed(f"the command {command.command!r} of the MCP server {name} is not installed: it is not in PATH", "mcp_unavailable")
    try:
        _make_folder(home)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", str(_LEASH), program, *command.args),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=env,
            cwd=command.cwd or home,
            start_new_session=True,
        )
    except OSError as error:
        raise McpFailed(f"the MCP server {name} cannot be started in {str(command.cwd or home)!r}: {error.strerror}", "mcp_unavailable") from None
    return StdioConnection(name, process)


def _make_folder(home: Path) -> None:
    home.mkdir(mode=0o700, parents=True, exist_ok=True)


class StdioConnection:
    """See ``messages.Connection``."""

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        if process.stdin is None or process.stdout is None or process.stderr is None:
            raise TypeError("the process needs three pipes")
        self.has_changed = False
        self.pid = process.pid
        self._name = name
        self._process = process
        self._stdin = process.stdin
        self._ids = count(1)
        self._waiting: dict[int, asyncio.Future[Answer]] = {}
        self._lost: str | None = None
        self._garbage = 0
        self._last_words: deque[str] = deque(maxlen=_LAST_WORDS)
        loop = asyncio.get_running_loop()
        # In a context of their own: they outlive the job whose call started the server.
        self._tasks = (
            loop.create_task(self._listen(process.stdout), context=Context()),
            loop.create_task(self._overhear(process.stderr), context=Context()),
        )

    @property
    def lost(self) -> str | None:
        return self._lost

    async def request(self, method: str, params: JsonObject) -> JsonObject:
        if self._lost is not None:
            raise McpFailed(self._lost, LOST, is_retryable=True)
        request_id = next(self._ids)
        answer = self._waiting[request_id] = asyncio.get_running_loop().create_future()
        try:
            await self._send(encode_request(request_id, method, params))
            return (await answer).unwrap(self._name)
        except asyncio.CancelledError:
            if method != "initialize":  # the protocol forbids to cancel that one
                self._post(encode_cancellation(request_id))
            raise
        finally:
            del self._waiting[request_id]
            if answer.done() and not answer.cancelled():
                answer.exception()  # seen, also when the sending failed first

    async def notify(self, method: str) -> None:
        await self._send(encode_notification(method))

    async def greeted(self, protocol: str) -> None:  # noqa: ARG002 - every version writes the same lines
        await self.notify("notifications/initialized")

    async def close(self, *, at_once: bool = False) -> None:
        self._end("the connection was closed")
        self._stdin.close()
        if at_once:
            with suppress(ProcessLookupError):
                self._process.terminate()
        try:
            async with asyncio.timeout(GRACE_S + 2 * TERM_S + 1):
                await self._process.wait()
                await asyncio.gather(*self._tasks, return_exceptions=True)
        except TimeoutError:
            get_logger(__name__).warning("mcp_server_killed", server=self._name)
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _send(self, message: bytes) -> None:
        try:
            self._stdin.write(message + b"\n")
            await self._stdin.drain()
        except (ConnectionError, RuntimeError) as error:
            # RuntimeError: uvloop's word for a pipe that is closed already.
            raise McpFailed(self._lost or f"the MCP server {self._name} does not listen any more ({type(error).__name__})", LOST) from None

    def _post(self, message: bytes) -> None:
        """Send without waiting, unless the server has stopped to read."""
        if self._lost is None and not self._stdin.is_closing() and self._stdin.transport.get_write_buffer_size() < _UNREAD_BYTES:
            self._stdin.write(message + b"\n")

    async def _listen(self, stdout: asyncio.StreamReader) -> None:
        cause = "sent something that cannot be read"  # unless the reading ends in a known way
        try:
            cause = await self._read(stdout)
        finally:
            if self._lost is None:
                self._end(f"the MCP server {self._name} {await self._exit_words() or cause}", " / ".join(self._last_words))
            self._stdin.close()
        while await stdout.read(_CHUNK):
            pass  # a full pipe would keep the program from ending

    async def _read(self, stdout: asyncio.StreamReader) -> str:
        """Take messages until there are no more; returns why there are none."""
        try:
            async for line in _lines(stdout):
                self._take(line)
                if self._garbage > MAX_GARBAGE_LINES:
                    return f"wrote more than {MAX_GARBAGE_LINES} lines that are no messages"
        except _LineTooLong:
            return f"sent a message of more than {MAX_MESSAGE_BYTES} bytes; ask it for less"
        return "closed its output"

    async def _exit_words(self) -> str:
        with suppress(TimeoutError):
            async with asyncio.timeout(_EXIT_WAIT_S):
                return f"ended with exit code {await self._process.wait()}"
        return ""

    def _take(self, line: bytes) -> None:
        try:
            messages = decode(line)
        except ValueError as error:
            self._garbage += 1
            if self._garbage == 1:
                get_logger(__name__).warning("mcp_server_garbage", server=self._name, reason=str(error)[:100])
            return
        for message in messages:
            self._handle(message)

    def _handle(self, message: Incoming) -> None:
        match message:
            case Answer():
                waiting = self._waiting.get(message.id)
                if waiting is not None and not waiting.done():
                    waiting.set_result(message)
            case Ask():
                self._post(encode_reply(message))
            case Notice():
                self.has_changed = self.has_changed or message.method == LIST_CHANGED

    async def _overhear(self, stderr: asyncio.StreamReader) -> None:
        """What the program says beside the protocol goes to the log, up to a limit, and its last words into the reason when it ends."""
        log, lines = get_logger(__name__), 0
        async for raw in _cut_lines(stderr):
            text = cleaned(raw.decode("utf-8", "replace")).strip()
            if text:
                lines += 1
                self._last_words.append(text)
                if lines <= MAX_LOGGED_LINES:
                    log.debug("mcp_server_stderr", server=self._name, text=text)

    def _end(self, reason: str, last_words: str = "") -> None:
        if self._lost is None:
            self._lost = reason
            for waiting in self._waiting.values():
                if not waiting.done():
                    waiting.set_exception(McpFailed(reason, LOST, detail=f"its last words: {last_words}" if last_words else ""))


class _LineTooLong(Exception):
    """No line end within the limit."""


async def _lines(stream: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """Whole lines that are not blank. Raises ``_LineTooLong``."""
    parts: list[bytes] = []
    size = 0
    while chunk := await stream.read(_CHUNK):
        *ends, rest = chunk.split(b"\n")
        for end in ends:
            if line := b"".join([*parts, end]).strip():
                yield line
            parts, size = [], 0
        if rest:
            parts.append(rest)
            size += len(rest)
            if size > MAX_MESSAGE_BYTES:
                raise _LineTooLong


async def _cut_lines(stream: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """Beginnings of lines; the rest of a long one is dropped."""
    line = b""
    while chunk := await stream.read(_CHUNK):
        *ends, rest = chunk.split(b"\n")
        for end in ends:
            yield (line + end)[:_LINE_CHARS]
            line = b""
        line = (line + rest)[:_LINE_CHARS]
    if line:
        yield line
