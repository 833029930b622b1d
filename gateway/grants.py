"""Which tools a job gets: platform ∩ tenant ∩ key ∩ request, of what the workers offer; settled at the door that makes the job, frozen with it.

Covered: a name outside the set never reaches a job, whatever the request, the door or the spelling of a header; a child or a retry gets no more than
the job it comes from; a refusal is kept in the tenant's audit log. Not covered: what a tool does once it is granted (``tools/authority.py``), and
words that another key of the same tenant adds to a job under way: they are worked on with the job's grant.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final, Literal, assert_never

from gateway.auth import Principal
from tandem.errors import NotFound, PermissionDenied, ToolNotOffered, UnknownTool
from tandem.ids import JobId
from tandem.ports import AuditLog, Clock, JobStore, ToolBoard
from tandem.schemas.audit import AuditEntry
from tandem.schemas.jobs import Job, JobRequest
from tandem.schemas.keys import tool_patterns
from tandem.schemas.tools import OfferedTool, ToolReport, ToolSpec
from tandem.settings import ToolSettings
from tools.registry import OPEN_TOOLS, is_listed, is_open

FRESH_S: Final = 120.0
"""A worker that has said nothing for so long is not counted on; it reports every ``slow_worker.tool_reports.EVERY_S``."""
CACHE_S: Final = 3.0
"""The board is read at most this often."""
Rule = Literal["platform", "tenant", "scope", "family"]
"""Who says no: the operator's ``TANDEM_TOOLS_OFFER``, the tenant's list, the key's scopes, or the job that this one comes from."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of one tool now."""

    name: str
    is_open: bool
    """Any key may use it."""
    spec: ToolSpec | None = None
    """None while no worker has spoken of it."""
    workers: int = 0
    """Live workers that offer it."""
    reason: str = ""
    """Why none does; an operator's words, which may hold paths and addresses."""
    is_assumed: bool = False
    """No worker has spoken yet: taken for offered, so that jobs may be submitted before the first worker starts."""

    @property
    def is_offered(self) -> bool:
        return self.workers > 0 or self.is_assumed


class ToolRefused(PermissionDenied):
    """A tool that exists and that this caller's job may not have."""

    def __init__(self, message: str, tool: str, rule: Rule) -> None:
        super().__init__(message, param="tools")
        self.tool = tool
        self.rule: Rule = rule


def standings(reports: Sequence[ToolReport], known: frozenset[str], open_tools: frozenset[str] = OPEN_TOOLS) -> dict[str, Standing]:
    """Every tool by name, from what live workers say; ``known`` are those that Tandem has by itself."""
    found = {name: Standing(name, name in open_tools, is_assumed=not reports) for name in known}
    for name in {report.spec.name for report in reports}:
        said = sorted((report for report in reports if report.spec.name == name), key=lambda report: (report.state == "offered", report.seen_at))
        spec = said[-1].spec
        workers = sum(report.state == "offered" for report in said)
        found[name] = Standing(name, is_open(spec), spec, workers, "" if workers else said[-1].reason)
    return dict(sorted(found.items()))


def refusing_rule(tool: Standing, caller: Principal, rules: ToolSettings, within: Iterable[str] | None = None) -> Rule | None:
    """Who keeps the tool from a job of this caller; None when nobody does. ``within`` is the grant of the job it comes from."""
    if not is_listed(tool.name, rules.offer):
        return "platform"
    if (theirs := rules.tenants.get(caller.tenant)) is not None and not is_listed(tool.name, theirs):
        return "tenant"
    if not tool.is_open and not is_listed(tool.name, tool_patterns(caller.scopes)):
        return "scope"
    return "family" if within is not None and tool.name not in within else None


def effective(
    wanted: Sequence[str] | None, caller: Principal, rules: ToolSettings, tools: Mapping[str, Standing], within: Sequence[str] | None = None
) -> list[str]:
    """The names a job gets: those wanted, each once, or with None all that it may have and that are offered, by name.

    Raises:
        UnknownTool: There is no such tool.
        ToolRefused: There is, and this caller's job may not have it.
        ToolNotOffered: It may, and no live worker offers it.
    """
    if wanted is None:
        return [tool.name for tool in tools.values() if tool.is_offered and refusing_rule(tool, caller, rules, within) is None]
    for name in wanted:
        tool = tools.get(name)
        if tool is None:
            raise _unknown(name, effective(None, caller, rules, tools, within))
        if (rule := refusing_rule(tool, caller, rules, within)) is not None:
            raise ToolRefused(_refusal(name, rule), name, rule)
        if not tool.is_offered:
            raise ToolNotOffered(_absence(tool, caller), param="tools")
    return list(dict.fromkeys(wanted))


class Grants:
    """The grants of one process, by what the workers said a moment ago."""

    def __init__(self, board: ToolBoard, jobs: JobStore, audit: AuditLog, clock: Clock, rules: ToolSettings, known: frozenset[str]) -> None:
        self._board = board
        self._jobs = jobs
        self._audit = audit
        self._clock = clock
        self._rules = rules
        self._known = known
        self._read: tuple[float, dict[str, Standing]] | None = None

    async def settle(self, request: JobRequest, caller: Principal, *, retry_of: Job | None = None) -> list[str]:
        """What a job of this request gets: no more than its parent or the job it tries again; a refusal is told in the audit log.

        Raises as ``effective``, with ``PermissionDenied`` for its refusal.
        """
        origin = retry_of or await self._parent(request, caller)
        within = None if origin is None else origin.tools if origin.tools is not None else origin.request.tools
        tools = await self.standings()
        try:
            return effective(request.tools, caller, self._rules, tools, within)
        except ToolRefused as refusal:
            entry = AuditEntry(kind="tool_refused", key_id=caller.key_id, tool=refusal.tool, decision="refused", rule=refusal.rule)
            await self._audit.append(caller.tenant, entry)
            raise PermissionDenied(refusal.message, param=refusal.param) from None

    async def _parent(self, request: JobRequest, caller: Principal) -> Job | None:
        """None also where there is none such: the store then refuses the job, in the transaction that would make it."""
        if request.parent_id is None:
            return None
        try:
            return await self._jobs.get(JobId(request.parent_id), caller.tenant)
        except NotFound:
            return None

    async def standings(self) -> dict[str, Standing]:
        """At most ``CACHE_S`` old."""
        now = self._clock.monotonic()
        if self._read is None or now - self._read[0] >= CACHE_S:
            self._read = (now, standings(await self._board.read(FRESH_S), self._known))
        return self._read[1]

    async def shown(self, caller: Principal) -> list[OfferedTool]:
        """The tools that workers speak of, as this caller may see them.

        What the platform or the tenant's list leaves out, and why a tool is missing, is for the operator's eyes.
        """
        tools = [tool for tool in (await self.standings()).values() if tool.spec is not None]
        return [shown for tool in tools if (shown := _shown(tool, caller, refusing_rule(tool, caller, self._rules))) is not None]


def _shown(tool: Standing, caller: Principal, rule: Rule | None) -> OfferedTool | None:
    is_operator = "admin" in caller.scopes
    if tool.spec is None or (rule in ("platform", "tenant") and not is_operator):
        return None
    reason = tool.reason if is_operator or not tool.reason else _HIDDEN_REASON
    state = "offered" if tool.workers else "unavailable"
    return OfferedTool(**tool.spec.model_dump(), state=state, reason=reason, is_allowed=rule is None, workers=tool.workers)


_HIDDEN_REASON: Final = "no live worker can offer it now; the operator sees why with 'tandem tools doctor', or here with a key of the scope 'admin'"


def _unknown(name: str, usable: Sequence[str]) -> UnknownTool:
    near = get_close_matches(name, usable, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return UnknownTool(f"no tool {name[:64]!r} here; {hint}a job of this key may use: {', '.join(usable) or 'none'}", param="tools")


def _refusal(name: str, rule: Rule) -> str:
    match rule:
        case "platform":
            return f"the tool {name!r} is not among those this platform offers; leave it out, or ask the operator (TANDEM_TOOLS_OFFER)"
        case "tenant":
            return f"the tool {name!r} is not among those this tenant may use; leave it out, or ask the operator (TANDEM_TOOLS_TENANTS)"
        case "scope":
            return (
                f"this key lacks the scope 'tools:{name}' (or 'tools'); leave the tool out, or use a key that has it "
                f"('tandem keys create --scope tools:{name}')"
            )
        case "family":
            return (
                f"the tool {name!r} is not among those of the job that this one comes from, which bounds it; leave it out, or submit a job of its own"
            )
        case _:
            assert_never(rule)


def _absence(tool: Standing, caller: Principal) -> str:
    why = tool.reason or "no live worker has it" if "admin" in caller.scopes else "no live worker can offer it now"
    return f"the tool {tool.name!r} is not offered: {why}; leave it out, or ask the operator ('tandem tools doctor' says what is missing)"


__all__ = ["CACHE_S", "FRESH_S", "Grants", "Rule", "Standing", "ToolRefused", "effective", "refusing_rule", "standings"]
