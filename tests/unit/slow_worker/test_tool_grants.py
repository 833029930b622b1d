"""A job keeps what it was granted, whatever the worker has today."""

from collections.abc import Sequence
from typing import Any, cast

import pytest

from slow_worker.tool_grants import granted_tools
from tandem.errors import ToolNotOffered, UnknownTool
from tandem.ids import JobId, TenantId
from tandem.ports import Claim
from tandem.schemas.jobs import JobRequest, JobView
from tools.registry import Toolbox

BOX = Toolbox(cast("dict[str, Any]", {"python": object(), "web_fetch": object(), "wiki__read": object()}))


def claim(granted: Sequence[str] | None, wanted: list[str] | None) -> Claim:
    request = JobRequest(input="x", tools=wanted)
    return Claim(JobId("job_1"), TenantId("acme"), 1, 1, request, "low", JobView(title="x"), None, tools=granted)


def test_a_tool_that_came_after_the_job_is_not_given_to_it() -> None:
    assert list(granted_tools(BOX, claim(["python"], None))) == ["python"]
    assert list(granted_tools(BOX, claim([], None))) == []


def test_a_granted_tool_that_this_worker_has_not_is_done_without_where_nobody_asked_for_it() -> None:
    assert list(granted_tools(BOX, claim(["sql", "python"], None))) == ["python"]


def test_a_tool_that_was_asked_for_by_name_and_is_missing_fails_the_job_by_name() -> None:
    with pytest.raises(ToolNotOffered, match="'sql'"):
        granted_tools(BOX, claim(["python", "sql"], ["python", "sql"]))


def test_a_job_older_than_grants_is_served_by_its_request() -> None:
    assert list(granted_tools(BOX, claim(None, ["python"]))) == ["python"]
    assert len(granted_tools(BOX, claim(None, None))) == len(BOX)
    with pytest.raises(UnknownTool, match="'sql'"):
        granted_tools(BOX, claim(None, ["sql"]))
