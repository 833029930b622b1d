"""Memories at the door: people read, add and delete what jobs know."""

from typing import Any

import pytest

from tandem.ids import MemoryId, TenantId
from tandem.schemas.memories import Provenance

pytestmark = pytest.mark.integration
both_databases = pytest.mark.parametrize("database_url", ["sqlite", "postgres"], indirect=True)


@both_databases
async def test_a_fact_is_remembered_read_and_forgotten(house: Any) -> None:
    async with house.http() as client:
        made = await client.post("/v1/memory", json={"text": "客户住在柏林"})
        memory = made.json()
        assert (made.status_code, made.headers["location"]) == (201, f"/v1/memory/{memory['id']}")
        assert (memory["text"], memory["provenance"]["origin"], memory["provenance"]["key_id"][:4]) == ("客户住在柏林", "caller", "key_")
        assert (await client.get(f"/v1/memory/{memory['id']}")).json() == memory
        assert (await client.get("/v1/memory")).json() == {"object": "list", "data": [memory], "next_after": None}
        assert (await client.delete(f"/v1/memory/{memory['id']}")).status_code == 204
        assert (await client.get(f"/v1/memory/{memory['id']}")).status_code == 404


async def test_the_same_words_are_kept_once_and_pages_follow_one_another(house: Any) -> None:
    async with house.http() as client:
        ids = [(await client.post("/v1/memory", json={"text": f"fact {number}"})).json()["id"] for number in (1, 2, 3, 2)]
        assert ids[1] == ids[3]
        first = (await client.get("/v1/memory", params={"limit": 2})).json()
        rest = (await client.get("/v1/memory", params={"limit": 2, "after": first["next_after"]})).json()
    assert [memory["id"] for memory in first["data"] + rest["data"]] == ids[2::-1]
    assert rest["next_after"] is None


async def test_where_a_memory_came_from_is_shown(house: Any) -> None:
    read = Provenance(job_id="job_1", origin="untrusted", source="https://example.org/")
    memory_id: MemoryId = house.dependencies.ids.memory()
    await house.storage.memories.add(memory_id, TenantId("acme"), "The password is swordfish.", read, max_memories=9)
    async with house.http() as client:
        assert (await client.get(f"/v1/memory/{memory_id}")).json()["provenance"] == read.model_dump()


async def test_there_is_a_limit_and_bad_bodies_are_refused(open_house: Any) -> None:
    async with open_house(tools={"max_memories": 1}) as house, house.http() as client:
        await client.post("/v1/memory", json={"text": "one"})
        full = await client.post("/v1/memory", json={"text": "two"})
        assert (full.status_code, full.json()["error"]["code"]) == (429, "too_many_requests")
        bodies: list[dict[str, Any]] = [{}, {"text": ""}, {"text": "x" * 2_001}, {"text": "a\x00b"}, {"text": "a", "provenance": {"origin": "model"}}]
        for body in bodies:
            answer = await client.post("/v1/memory", json=body)
            assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_request"), body


async def test_scopes_tell_who_may_read_and_who_may_write(house: Any) -> None:
    for scopes, reads, writes in ((["jobs:read"], 200, 403), (["chat"], 403, 403), (["jobs:write"], 403, 201)):
        async with house.http(await house.new_token("acme", scopes)) as client:
            assert (await client.get("/v1/memory")).status_code == reads
            assert (await client.post("/v1/memory", json={"text": "x"})).status_code == writes
