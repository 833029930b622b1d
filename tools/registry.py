"""Which tools exist, and which of them this machine can offer.

``tool_names`` is cheap: it loads no tool. ``offered_tools`` probes and builds them, in the process that will run them and after its fork.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Final

from tandem.errors import SandboxUnavailable, UnknownTool
from tandem.ports import Tool
from tandem.telemetry import get_logger

PYTHON: Final = "python"
_NAMES: Final = frozenset({PYTHON})


def tool_names() -> frozenset[str]:
    """Every tool Tandem has, whether or not this machine can offer it."""
    return _NAMES


def check_names(names: Sequence[str], known: frozenset[str]) -> None:
    """Refuse the first name that is not among ``known``.

    Raises:
        UnknownTool: The message names what is offered.
    """
    for name in names:
        if name not in known:
            offered = ", ".join(sorted(known)) or "none"
            raise UnknownTool(f"no tool {name!r} here; offered: {offered}", param="tools")


class Toolbox(Mapping[str, Tool]):
    """The tools of one process by name; whoever opened it closes it."""

    def __init__(self, tools: Mapping[str, Tool], closers: Sequence[Callable[[], Awaitable[None]]] = ()) -> None:
        self._tools = dict(tools)
        self._closers = tuple(closers)

    def __getitem__(self, name: str) -> Tool:
        return self._tools[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tools)

    def __len__(self) -> int:
        return len(self._tools)

    def select(self, names: Sequence[str] | None) -> Mapping[str, Tool]:
        """The named tools; None takes all. Raises ``UnknownTool``."""
        if names is None:
            return dict(self._tools)
        check_names(names, frozenset(self._tools))
        return {name: self._tools[name] for name in names}

    async def close(self) -> None:
        for close in self._closers:
            await close()


def offered_tools() -> Toolbox:
    """Probe and build what works here; a tool whose sandbox does not work is left out, never run another way."""
    # The sandbox is an extra: loading it here lets the gateway know tool names without it.
    from tools.python_exec import PythonTool, probe_python  # noqa: PLC0415
    from tools.wrappers import guarded  # noqa: PLC0415

    try:
        probe_python()
    except SandboxUnavailable as error:
        get_logger(__name__).warning("tool_not_offered", tool=PYTHON, reason=error.message)
        return Toolbox({})
    python = PythonTool()
    return Toolbox({PYTHON: guarded(python)}, [python.close])
