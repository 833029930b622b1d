"""What an operator sees: the work at hand, in JSON and as metrics."""

from typing import Any

import pytest

from tandem.ids import JobId
from tandem.ports import Parking
from tandem.schemas.inputs import InputAsk
from tandem.schemas.jobs import JobStatus
from tandem.schemas.operations import Operations

pytestmark = pytest.mark.integration
both_databases = pytest.mark.parametrize("database_url", ["sqlite", "postgres"], indirect=True)


@both_databases
async def test_an_operator_sees_all_tenants_work(house: Any) -> None:
    async with house.http() as client, house.http(house.other_token) as rival:
        for sender in (client, rival, client, client):
            await sender.post("/v1/jobs", json={"input": "add"})
        claim = await house.claim(await house.next_job())
        asking = await house.claim(await house.next_job(2))
        await house.park(asking, Parking(status=JobStatus.INPUT_REQUIRED, asks=[InputAsk(key="k", kind="text", prompt="?")], wait_s=60))
        seen = Operations.model_validate((await client.get("/v1/operations")).json())
        metrics = (await client.get("/metrics")).text
    assert seen.by_status == {"queued": 2, "in_progress": 1, "input_required": 1}
    assert sorted(seen.queued_by_key.values()) == [1, 1]
    assert 0 <= seen.oldest_queued_s < 60
    assert seen.last_claim_s is not None
    [lease] = seen.leases
    assert (lease.job_id, lease.tenant, lease.worker, lease.is_stuck) == (claim.job_id, "acme", "test-worker", False)
    assert 0 < lease.lease_left_s <= 15
    for line in (
        "tandem_leases 1.0",
        "tandem_jobs_stuck 0.0",
        "tandem_lost_attempts 0.0",
        'tandem_jobs_waiting{state="queued"} 2.0',
        'tandem_jobs_waiting{state="input_required"} 1.0',
        'tandem_jobs_waiting{state="paused"} 0.0',
    ):
        assert line in metrics.splitlines()


async def test_work_in_which_nothing_happens_is_called_stuck(open_house: Any) -> None:
    async with open_house(worker={"step_timeout_s": 0.001}) as house, house.http() as client:
        await client.post("/v1/jobs", json={"input": "add"})
        await house.claim(await house.next_job())
        assert [lease["is_stuck"] for lease in (await client.get("/v1/operations")).json()["leases"]] == [True]
        assert "tandem_jobs_stuck 1.0" in (await client.get("/metrics")).text


async def test_lost_attempts_are_counted(house: Any) -> None:
    async with house.http() as client:
        await client.post("/v1/jobs", json={"input": "add"})
        job_id: JobId = await house.next_job()
        assert await house.storage.work.claim("doomed", 0.0, 5, job_id=job_id) is not None
        await house.claim(job_id)
        assert (await client.get("/v1/operations")).json()["leases"][0]["lost"] == 1
        assert "tandem_lost_attempts 1.0" in (await client.get("/metrics")).text


async def test_an_ordinary_key_may_not_look(house: Any) -> None:
    async with house.http(await house.new_token("acme", ["chat", "jobs:read", "jobs:write"])) as client:
        answer = await client.get("/v1/operations")
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "permission_denied")
