"""One server as its tools see it: a session that is opened when it is needed, watched, and opened anew when it is lost, but not without end.

Decides as well which tools stand: those whose declaration is the approved one. That is judged at each connection and whenever the server says that
its tools have changed; a tool that does not stand is not called. Calls may come from any task of the event loop that the first one ran in.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextvars import Context
from dataclasses import dataclass
from typing import Final

from mcp import types
from pydantic import JsonValue

from tandem.schemas.tools import ToolSpec
from tandem.telemetry import get_logger
from tools.mcp.declarations import Declaration, bare_spec, declarations
from tools.mcp.messages import Connection, McpFailed
from tools.mcp.pins import Pins, differences, digest, is_pinnable
from tools.mcp.servers import McpServer
from tools.mcp.session import call_tool, greet, is_alive, list_tools

MAX_RESTARTS: Final = 3
WINDOW_S: Final = 60.0
"""A server that was started ``MAX_RESTARTS`` times more than once in this time rests until the oldest start is that long ago."""
_PAUSES_S: Final = (0.0, 0.0, 0.5, 2.0)
"""Before each start within the window."""
UNAVAILABLE: Final = "mcp_unavailable"

Opener = Callable[[], Awaitable[Connection]]


@dataclass(frozen=True, slots=True)
class Standing:
    """Whether a tool may be called, and as what."""

    spec: ToolSpec
    reason: str = ""
    """Why not."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Time, as the restarts use it."""

    clock: Callable[[], float]
    """Seconds that only grow."""
    sleep: Callable[[float], Awaitable[None]]


class Link:
    """The way to one server."""

    def __init__(self, server: McpServer, opener: Opener, pins: Pins, pace: Pace) -> None:
        self.server = server
        self._opener = opener
        self._pins = pins
        self._pace = pace
        self._lock = asyncio.Lock()
        self._connection: Connection | None = None
        self._listed: list[types.Tool] = []
        self._standings: dict[str, Standing] = {}
        self._starts: deque[float] = deque(maxlen=MAX_RESTARTS + 1)
        self._opening: asyncio.Task[Connection] | None = None
        self._suspicion: asyncio.Task[bool] | None = None
        self._farewells: set[asyncio.Task[None]] = set()

    async def open(self) -> Mapping[str, Standing]:
        """Connect if need be; all tools that the operator takes, by the server's own names. Raises ``McpFailed`` and ``SettingsInvalid``."""
        await self._ready()
        return dict(self._standings)

    async def listing(self) -> list[types.Tool]:
        """The declarations that the operator takes, as the server gives them now. Raises ``McpFailed``."""
        await self._ready()
        taken = self.server.tools
        return [entry for entry in self._listed if taken is None or entry.name in taken]

    async def standing(self, tool: str) -> Standing:
        """How a tool stands now; one that did not is looked up again, since an operator may have approved it. Raises as ``open``."""
        await self._ready()
        standing = self._standings.get(tool)
        if standing is None or standing.reason:
            self._judge()
            standing = self._standings.get(tool)
        return standing or Standing(bare_spec(self.server, tool), f"the MCP server {self.server.name} no longer has it")

    async def call(self, tool: str, arguments: Mapping[str, JsonValue]) -> types.CallToolResult:
        """Call once, never again by itself: whether a lost call happened is not known here. Raises ``McpFailed``."""
        connection = self._connection
        if connection is None:
            raise McpFailed(f"the MCP server {self.server.name} is not connected", UNAVAILABLE, is_retryable=True)
        return await call_tool(connection, self.server.name, tool, arguments)

    def suspect(self) -> None:
        """A call took too long: unless the server gives a sign of life, the next caller gets a new session."""
        if self._connection is not None and self._suspicion is None:
            self._suspicion = asyncio.get_running_loop().create_task(is_alive(self._connection))

    async def close(self) -> None:
        """End the session. A later call opens a new one."""
        async with self._lock:
            tasks = [task for task in (self._suspicion, self._opening) if task is not None]
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks)
            self._suspicion = self._opening = None
            connection, self._connection = self._connection, None
            if connection is not None:
                await connection.close()
            await asyncio.gather(*self._farewells, return_exceptions=True)

    async def _ready(self) -> Connection:
        async with self._lock:
            if self._suspicion is not None:
                # Shielded: it is about the server, whoever waits for it.
                is_well = await asyncio.shield(self._suspicion)
                self._suspicion = None
                if not is_well:
                    self._drop("it gave no sign of life")
            if self._connection is not None and self._connection.lost is not None:
                self._drop(self._connection.lost)
            if self._connection is None:
                self._connection = await self._opened()
            elif self._connection.has_changed:
                await self._list_again(self._connection)
            return self._connection

    async def _list_again(self, connection: Connection) -> None:
        try:
            self._listed = await list_tools(connection, self.server.name)
        except BaseException:
            connection.has_changed = True  # whoever comes next has to look
            raise
        self._judge()

    async def _opened(self) -> Connection:
        """A new session. A caller that cannot wait leaves the start to the next one."""
        if self._opening is None or self._opening.done():
            await self._pause()
            # In a task and a context of its own: the session outlives the job whose call asked for it.
            self._opening = asyncio.get_running_loop().create_task(self._connect(), context=Context())
            self._opening.add_done_callback(_noticed)
        connection = await asyncio.shield(self._opening)
        self._opening = None
        return connection

    async def _connect(self) -> Connection:
        connection: Connection | None = None
        try:
            async with asyncio.timeout(self.server.start_timeout_s):
                connection = await self._opener()
                self._listed = await greet(connection, self.server.name)
            self._judge()
        except TimeoutError:
            self._see_off(connection)
            message = f"the MCP server {self.server.name} did not greet and list its tools within {self.server.start_timeout_s:g} s"
            raise McpFailed(message, UNAVAILABLE, is_retryable=True) from None
        except BaseException:
            self._see_off(connection)
            raise
        return connection

    async def _pause(self) -> None:
        """Wait before a start as its place in the window asks, or refuse it. Raises ``McpFailed``."""
        now = self._pace.clock()
        recent = sum(1 for start in self._starts if now - start < WINDOW_S)
        if recent > MAX_RESTARTS:
            rest_s = max(1, round(WINDOW_S - (now - self._starts[0])))
            message = (
                f"the MCP server {self.server.name} failed {recent} times within {WINDOW_S:g} s and rests; do without its tools, or try in {rest_s} s"
            )
            raise McpFailed(message, UNAVAILABLE, is_retryable=True)
        if pause := _PAUSES_S[recent]:
            await self._pace.sleep(pause)
        self._starts.append(self._pace.clock())

    def _drop(self, reason: str) -> None:
        get_logger(__name__).warning("mcp_connection_dropped", server=self.server.name, reason=reason)
        connection, self._connection = self._connection, None
        self._see_off(connection)

    def _see_off(self, connection: Connection | None) -> None:
        """Close a connection that is of no use any more, without making anybody wait."""
        if connection is not None:
            task = asyncio.get_running_loop().create_task(connection.close(at_once=True))
            self._farewells.add(task)
            task.add_done_callback(self._farewells.discard)

    def _judge(self) -> None:
        """Compare what the server declares with what was approved."""
        name, taken = self.server.name, declarations(self.server, self._listed)
        if self.server.trust_first_use and self._pins.approve(name, [each.entry for each in taken], is_first_use=True):
            get_logger(__name__).info("mcp_first_use_approved", server=name, tools=len(taken))
        approved = self._pins.read(name)
        changed = {each.tool: each for each in differences(approved, [each.entry for each in taken])}
        standings: dict[str, Standing] = {}
        for each in taken:
            difference = changed.get(each.entry.name)
            what = "" if difference is None else _explain(name, difference.kind, difference.what)
            standings[each.entry.name] = Standing(each.spec, each.fault or _size_fault(each) or what)
            pin = approved.get(each.entry.name)
            if pin is not None and pin.digest != digest(each.entry):
                get_logger(__name__).warning(
                    "mcp_declaration_changed", server=name, tool=each.spec.name, changed=list(difference.what if difference else ())
                )
        self._standings = standings


def _noticed(opening: asyncio.Task[Connection]) -> None:
    """A start that failed while nobody waited is simply tried again."""
    if not opening.cancelled():
        opening.exception()


def _explain(server: str, kind: str, what: tuple[str, ...]) -> str:
    how = f"`tandem tools mcp diff {server}` shows it, `tandem tools mcp approve {server}` approves it"
    if kind == "changed":
        return f"its {', '.join(what)} changed after it was approved, so it is not called; an operator must look: {how}"
    return f"no operator has approved it yet: {how}"


def _size_fault(declaration: Declaration) -> str:
    return "" if is_pinnable(declaration.entry) else "its declaration is too large to be approved"
