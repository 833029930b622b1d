"""What a key may do, as it is spelled and as it is compared."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tandem.schemas.keys import ALL_SCOPES, DEFAULT_SCOPES, KeyCreate, tool_patterns, uncovered_scopes


@pytest.mark.parametrize("scope", ["chat", "jobs:read", "jobs:write", "admin", "tools", "tools:*", "tools:web_fetch", "tools:wiki__*", "tools:a1"])
def test_a_scope_that_exists_is_taken(scope: str) -> None:
    assert KeyCreate(name="x", scopes=[scope]).scopes == [scope]


@pytest.mark.parametrize(
    "scope",
    [
        "",
        "root",
        "tools:",
        "tools:Web",
        "tools:web-fetch",
        "tools:*web",
        "tools:w*b",
        "tools:**",
        "tool:python",
        "tools:工具",
        " chat",
        "chat\n",
        "TOOLS",
        "tools:a?",
    ],
)
def test_what_is_no_scope_is_refused_with_those_that_are(scope: str) -> None:
    with pytest.raises(ValidationError, match="use chat, jobs:read, jobs:write, admin, tools, or for single tools 'tools:web_fetch'"):
        KeyCreate(name="x", scopes=[scope])


def test_the_local_key_may_do_everything_and_a_new_one_no_tools_by_default() -> None:
    assert tool_patterns(ALL_SCOPES) == ["*"]
    assert tool_patterns(DEFAULT_SCOPES) == []


@pytest.mark.parametrize(
    ("wanted", "held", "beyond"),
    [
        (["chat"], ["chat", "admin"], []),
        (["chat", "admin"], ["chat"], ["admin"]),
        (["tools:web_fetch", "tools:web_*", "tools"], ["tools"], []),
        (["tools"], ["tools:*"], []),
        (["tools:web_fetch", "tools:web_*", "tools:web_f*"], ["tools:web_*"], []),
        (["tools:web_fetch", "tools:*", "tools"], ["tools:web_fetch"], ["tools:*", "tools"]),
        (["tools:web_*"], ["tools:web_fetch"], ["tools:web_*"]),
        (["tools:web_fetcher"], ["tools:web_fetch"], ["tools:web_fetcher"]),
        (["tools:python"], ["chat", "admin"], ["tools:python"]),
        (["admin"], ["tools"], ["admin"]),
    ],
)
def test_a_wider_scope_covers_a_narrower_one_and_never_the_other_way_round(wanted: list[str], held: list[str], beyond: list[str]) -> None:
    assert uncovered_scopes(wanted, held) == beyond


SCOPES = st.lists(st.sampled_from([*ALL_SCOPES, "tools:web_fetch", "tools:web_*", "tools:*", "tools:sql"]), max_size=4)


@given(wanted=SCOPES, held=SCOPES)
def test_what_is_covered_names_no_tool_beyond_what_is_held(wanted: list[str], held: list[str]) -> None:
    def names(scopes: list[str]) -> set[str]:
        tools = {"web_fetch", "web_search", "sql", "python"}
        return {
            tool for tool in tools for pattern in tool_patterns(scopes) if pattern == tool or (pattern[-1] == "*" and tool.startswith(pattern[:-1]))
        }

    covered = [scope for scope in wanted if scope not in uncovered_scopes(wanted, held)]
    assert names(covered) <= names(held)
    assert {scope for scope in covered if not scope.startswith("tools")} <= set(held)
