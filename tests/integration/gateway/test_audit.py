"""The audit log at the door: a tenant reads its own chain and checks it."""

from typing import Any

import pytest

from tandem.ids import TenantId
from tandem.schemas.audit import AuditEntry

pytestmark = pytest.mark.integration
both_databases = pytest.mark.parametrize("database_url", ["sqlite", "postgres"], indirect=True)
JOBS = [f"job_{number}{'0' * 25}" for number in range(2)]


async def written(house: Any, count: int, tenant: str = "acme") -> list[str]:
    """Hashes of that many records."""
    entries = [AuditEntry(kind="tool_call", job_id=JOBS[number % 2], tool="sql", arguments={"query": "选择"}) for number in range(count)]
    return [(await house.storage.audit.append(TenantId(tenant), entry)).hash for entry in entries]


@both_databases
async def test_a_tenant_reads_its_chain_in_pages_and_by_job(house: Any) -> None:
    hashes = await written(house, 5)
    async with house.http() as client:
        first = (await client.get("/v1/audit", params={"limit": 3})).json()
        rest = (await client.get("/v1/audit", params={"limit": 3, "after": first["next_after"]})).json()
        of_job = (await client.get("/v1/audit", params={"job_id": JOBS[1]})).json()
    assert [record["hash"] for record in first["data"] + rest["data"]] == hashes
    assert (first["next_after"], rest["next_after"]) == (3, None)
    assert [record["seq"] for record in of_job["data"]] == [2, 4]
    assert of_job["data"][0]["arguments"] == {"query": "选择"}


async def test_a_tenant_sees_nothing_of_anothers_chain(house: Any) -> None:
    hashes = await written(house, 2)
    async with house.http(house.other_token) as theirs:
        assert (await theirs.get("/v1/audit")).json()["data"] == []
        assert (await theirs.get("/v1/audit", params={"job_id": JOBS[0]})).json()["data"] == []
        assert (await theirs.get("/v1/audit/verify")).json()["checked"] == 0
        assert not (await theirs.get("/v1/audit/verify", params={"head": hashes[-1]})).json()["is_intact"]


async def test_the_chain_is_checked_also_against_a_head_that_was_kept(house: Any) -> None:
    hashes = await written(house, 3)
    async with house.http() as client:
        verdict = (await client.get("/v1/audit/verify")).json()
        assert (verdict["is_intact"], verdict["checked"], verdict["head"]) == (True, 3, hashes[-1])
        assert (await client.get("/v1/audit/verify", params={"head": hashes[0]})).json()["is_intact"]
        cut = (await client.get("/v1/audit/verify", params={"head": "ab" * 32})).json()
        assert (cut["is_intact"], "cut off" in cut["reason"]) == (False, True)
        assert (await client.get("/v1/audit/verify", params={"head": "nonsense"})).status_code == 400


async def test_nothing_at_the_door_writes_to_the_log_and_a_scope_is_needed(house: Any) -> None:
    async with house.http() as client:
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            assert (await client.request(method, "/v1/audit")).status_code == 405
    async with house.http(await house.new_token("acme", ["chat", "jobs:write"])) as stranger:
        assert [(await stranger.get(path)).status_code for path in ("/v1/audit", "/v1/audit/verify")] == [403, 403]
