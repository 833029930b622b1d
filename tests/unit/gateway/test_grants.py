"""Which tools a job gets: never more than any one of those who have a say."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.auth import Principal
from gateway.grants import CACHE_S, Grants, ToolRefused, effective, refusing_rule, standings
from tandem.errors import PermissionDenied, ToolNotOffered, UnknownTool
from tandem.ids import KeyId, TenantId
from tandem.schemas.audit import AuditEntry
from tandem.schemas.jobs import JobRequest
from tandem.schemas.tools import ToolReport, ToolSpec
from tandem.settings import ToolSettings
from tandem.testing.clock import FakeClock
from tools.registry import is_listed

NOW = datetime(2026, 12, 1, tzinfo=UTC)
KNOWN = frozenset({"python", "calculator", "web_fetch", "web_search", "sql"})


def spec(name: str, side_effect: str = "read_external", **fields: Any) -> ToolSpec:
    shape = {"name": name, "description": "x", "parameters": {"type": "object"}, "side_effect": side_effect, "timeout_s": 1}
    return ToolSpec.model_validate(shape | fields)


def report(name: str, side_effect: str = "read_external", *, worker: str = "one", reason: str = "", **fields: Any) -> ToolReport:
    state = "unavailable" if reason else "offered"
    return ToolReport(spec=spec(name, side_effect, **fields), state=state, reason=reason, worker=worker, seen_at=NOW)


REPORTS = [
    report("python", "exec"),
    report("calculator", "pure"),
    report("web_fetch"),
    report("web_search", reason="no provider in /srv/secret/tandem.toml"),
    report("wiki__read", "pure"),
    report("wiki__edit", "write"),
]


def caller(*scopes: str, tenant: str = "acme") -> Principal:
    return Principal(TenantId(tenant), KeyId("key_1"), frozenset(scopes))


def granted(wanted: Sequence[str] | None, who: Principal, rules: ToolSettings | None = None, within: Sequence[str] | None = None) -> list[str]:
    return effective(wanted, who, rules or ToolSettings(), standings(REPORTS, KNOWN), within)


def test_a_key_without_a_scope_for_tools_gets_what_neither_reaches_out_nor_reads() -> None:
    assert granted(None, caller("chat", "jobs:write", "admin")) == ["calculator", "python"]


def test_the_files_that_the_caller_brought_may_be_read_by_any_key_and_what_the_tenant_keeps_may_not() -> None:
    reports = [
        report("documents", "read_internal", needs=["files"]),
        report("memory_search", "read_internal", reads_private=True, needs=["database"]),
        report("sql", "read_internal", reads_private=True, needs=["files"]),
    ]
    assert effective(None, caller("jobs:write"), ToolSettings(), standings(reports, frozenset())) == ["documents"]


def test_a_tool_of_a_server_is_never_open_whatever_class_it_claims() -> None:
    assert "wiki__read" not in granted(None, caller("jobs:write"))
    assert granted(["wiki__read"], caller("tools:wiki__*")) == ["wiki__read"]


@pytest.mark.parametrize(
    ("scope", "names"),
    [
        ("tools", ["calculator", "python", "web_fetch", "wiki__edit", "wiki__read"]),
        ("tools:*", ["calculator", "python", "web_fetch", "wiki__edit", "wiki__read"]),
        ("tools:web_fetch", ["calculator", "python", "web_fetch"]),
        ("tools:web_*", ["calculator", "python", "web_fetch"]),
        ("tools:web", ["calculator", "python"]),
        ("tools:wiki__*", ["calculator", "python", "wiki__edit", "wiki__read"]),
    ],
)
def test_a_scope_adds_the_tools_it_names(scope: str, names: list[str]) -> None:
    assert granted(None, caller("jobs:write", scope)) == names


def test_the_operators_and_the_tenants_lists_bind_every_key() -> None:
    rules = ToolSettings(offer=["python", "web_*"], tenants={"acme": ["calculator", "web_*"]})
    assert granted(None, caller("tools"), rules) == ["web_fetch"]
    assert granted(None, caller("tools", tenant="rival"), rules) == ["python", "web_fetch"]


@pytest.mark.parametrize(
    ("name", "who", "within", "rule", "told"),
    [
        ("calculator", caller("tools"), None, "platform", "TANDEM_TOOLS_OFFER"),
        ("python", caller("tools"), None, "tenant", "TANDEM_TOOLS_TENANTS"),
        ("web_fetch", caller("jobs:write", "tools:sql"), None, "scope", "tandem keys create --scope tools:web_fetch"),
        ("web_fetch", caller("tools"), ["python"], "family", "the job that this one comes from"),
    ],
)
def test_a_refusal_says_who_refuses_and_what_to_do(name: str, who: Principal, within: list[str] | None, rule: str, told: str) -> None:
    rules = ToolSettings(offer=["python", "web_*"], tenants={"acme": ["calculator", "web_*"]})
    with pytest.raises(ToolRefused) as refused:
        granted([name], who, rules, within)
    assert (refused.value.rule, refused.value.tool, refused.value.param) == (rule, name, "tools")
    assert repr(name) in refused.value.message or f"tools:{name}" in refused.value.message
    assert told in refused.value.message


@pytest.mark.parametrize("name", ["web_serch", "网页", "PYTHON", "python ", "../python"])
def test_what_is_no_tool_is_named_with_what_there_is(name: str) -> None:
    with pytest.raises(UnknownTool) as unknown:
        granted([name], caller("tools:web_search"))
    assert repr(name) in unknown.value.message
    assert "calculator, python" in unknown.value.message
    assert "wiki__edit" not in unknown.value.message, "what this key may not use is not told"


def test_a_close_name_is_proposed() -> None:
    with pytest.raises(UnknownTool, match="did you mean 'web_fetch'"):
        granted(["webfetch"], caller("tools"))


def test_a_tool_that_no_worker_can_offer_is_refused_and_only_the_operator_reads_why() -> None:
    with pytest.raises(ToolNotOffered) as plain:
        granted(["web_search"], caller("tools"))
    with pytest.raises(ToolNotOffered) as operators:
        granted(["web_search"], caller("tools", "admin"))
    assert "secret" not in plain.value.message
    assert "no provider in /srv/secret/tandem.toml" in operators.value.message


def test_before_any_worker_has_spoken_what_tandem_has_by_itself_is_taken_for_offered() -> None:
    tools = standings([], KNOWN)
    assert effective(None, caller("jobs:write"), ToolSettings(), tools) == ["calculator", "python"]
    assert effective(["web_search"], caller("tools"), ToolSettings(), tools) == ["web_search"]
    with pytest.raises(UnknownTool):
        effective(["wiki__read"], caller("tools"), ToolSettings(), tools)


def test_one_worker_that_offers_a_tool_is_enough() -> None:
    said = standings([report("sql", reason="no file", worker="a"), report("sql", worker="b"), report("sql", worker="c")], KNOWN)["sql"]
    assert (said.is_offered, said.workers, said.reason) == (True, 2, "")


def test_a_name_given_twice_is_granted_once_in_the_order_asked() -> None:
    assert granted(["python", "calculator", "python"], caller()) == ["python", "calculator"]
    assert granted([], caller("tools")) == []


NAMES = ["python", "calculator", "web_fetch", "web_search", "sql", "wiki__read", "wiki__edit", "teleport"]
PATTERNS = st.lists(st.sampled_from(["*", "python", "web_*", "wiki__*", "sql", "calculator"]), max_size=3)
SCOPES = st.lists(st.sampled_from(["chat", "admin", "tools", "tools:web_*", "tools:sql", "tools:wiki__edit", "tools:*"]), max_size=3)


@given(
    wanted=st.none() | st.lists(st.sampled_from(NAMES), max_size=4),
    scopes=SCOPES,
    offer=PATTERNS,
    tenant=st.none() | PATTERNS,
    within=st.none() | st.lists(st.sampled_from(NAMES), max_size=4),
    spoken=st.sets(st.sampled_from(range(len(REPORTS)))),
)
def test_a_grant_is_within_every_set_or_a_typed_refusal(
    wanted: list[str] | None, scopes: list[str], offer: list[str], tenant: list[str] | None, within: list[str] | None, spoken: set[int]
) -> None:
    rules = ToolSettings(offer=offer, tenants={} if tenant is None else {"acme": tenant})
    tools = standings([REPORTS[at] for at in sorted(spoken)], KNOWN)
    who = caller(*scopes)
    try:
        names = effective(wanted, who, rules, tools, within)
    except (ToolRefused, ToolNotOffered, UnknownTool) as refusal:
        names, param = [], refusal.param
    else:
        param = None
    if param is not None:
        assert (param, bool(wanted)) == ("tools", True), "only a tool that was named can be refused"
        return
    assert len(set(names)) == len(names)
    for name in names:
        assert wanted is None or name in wanted
        assert is_listed(name, offer)
        assert tenant is None or is_listed(name, tenant)
        assert within is None or name in within
        assert tools[name].is_offered
        assert tools[name].is_open or any(is_listed(name, [scope.partition(":")[2] or "*"]) for scope in scopes if scope.startswith("tools"))
        assert refusing_rule(tools[name], who, rules, within) is None
    assert wanted is None or set(names) == set(wanted), "what was named is granted whole or refused"


class Board:
    """What one worker says, counting how often it is read; and an audit log in a list."""

    def __init__(self) -> None:
        self.reports: list[ToolReport] = []
        self.reads = 0
        self.entries: list[tuple[str, AuditEntry]] = []

    async def read(self, fresh_s: float) -> Sequence[ToolReport]:
        assert fresh_s > 0
        self.reads += 1
        return self.reports

    async def append(self, tenant: TenantId, entry: AuditEntry) -> None:
        self.entries.append((tenant, entry))


def opened(clock: FakeClock) -> tuple[Any, Grants]:
    board: Any = Board()
    return board, Grants(board, board, board, clock, ToolSettings(), KNOWN)


async def test_the_board_is_read_at_most_every_few_seconds() -> None:
    clock = FakeClock()
    board, grants = opened(clock)
    for _ in range(5):
        await grants.settle(JobRequest(input="x"), caller())
    assert board.reads == 1
    board.reports = REPORTS
    await clock.sleep(CACHE_S)
    assert "wiki__edit" in await grants.settle(JobRequest(input="x"), caller("tools"))
    assert board.reads == 2


async def test_a_refusal_is_kept_in_the_tenants_audit_log_and_a_grant_is_not() -> None:
    board, grants = opened(FakeClock())
    await grants.settle(JobRequest(input="x", tools=["python"]), caller())
    with pytest.raises(PermissionDenied):
        await grants.settle(JobRequest(input="x", tools=["python", "web_fetch"]), caller())
    ((tenant, entry),) = board.entries
    assert (tenant, entry.kind, entry.key_id, entry.tool, entry.decision, entry.rule) == (
        "acme",
        "tool_refused",
        "key_1",
        "web_fetch",
        "refused",
        "scope",
    )


async def test_the_operator_sees_every_tool_with_reasons_and_others_only_what_concerns_them() -> None:
    board, _ = opened(FakeClock())
    board.reports = REPORTS
    grants = Grants(board, board, board, FakeClock(), ToolSettings(tenants={"acme": ["python", "web_*"]}), KNOWN)
    operators = {tool.name: tool for tool in await grants.shown(caller("admin"))}
    mine = {tool.name: tool for tool in await grants.shown(caller("chat", "tools:web_fetch"))}
    assert set(operators) == {"python", "calculator", "web_fetch", "web_search", "wiki__read", "wiki__edit"}
    assert operators["web_search"].reason == "no provider in /srv/secret/tandem.toml"
    assert set(mine) == {"python", "web_fetch", "web_search"}
    assert "secret" not in mine["web_search"].reason
    assert [(tool.state, tool.is_allowed, tool.workers) for tool in mine.values()] == [
        ("offered", True, 1),
        ("offered", True, 1),
        ("unavailable", False, 0),
    ]
