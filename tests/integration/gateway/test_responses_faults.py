"""The responses door when things are asked twice, go wrong, or are left alone; and the webhooks of its answers."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import openai
import pytest
from openai import OpenAI
from openai.types.responses import Response
from sqlalchemy import update

from tandem.ports import Outcome
from tandem.schemas.jobs import JobFailure, JobResult, JobStatus
from tandem.storage.engine import Database
from tandem.storage.tables import responses
from tandem.webhooks import parse_signing_key, signed_headers

pytestmark = pytest.mark.integration
KEY = {"idempotency-key": "order-17"}
RETRY = {"x-stainless-retry-count": "1"}
HI = {"model": "fast", "input": "hi"}


@asynccontextmanager
async def silent_model(house: Any) -> AsyncGenerator[tuple[asyncio.Event, asyncio.Event]]:
    """A fast model that takes requests and says nothing; the events tell that one has arrived, and that its client has hung up."""
    arrived, closed = asyncio.Event(), asyncio.Event()

    async def hang(ask: Any) -> None:
        ask.begin_stream()
        ask.chunk(b'data: {"choices":[{"index":0,"delta":{"content":"Hel"}}]}\n\n')
        await ask.writer.drain()
        arrived.set()
        await ask.until_closed()
        closed.set()

    house.model.answer = hang
    yield arrived, closed


async def leave(house: Any, body: dict[str, Any], arrived: asyncio.Event) -> None:
    """Ask over a bare socket, and hang up once the model has the request."""
    _, writer = await asyncio.open_connection("127.0.0.1", int(house.url.rsplit(":", 1)[1]))
    data = json.dumps(body).encode()
    head = f"POST /v1/responses HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {house.token}\r\ncontent-type: application/json\r\n"
    writer.write(head.encode() + b"idempotency-key: order-17\r\ncontent-length: %d\r\n\r\n" % len(data) + data)
    async with asyncio.timeout(50):
        await arrived.wait()
    writer.close()


async def test_a_repeated_request_gets_the_answer_of_the_first(house: Any) -> None:
    async with house.http() as http:
        first = await http.post("/v1/responses", json=HI, headers=KEY)
        again = await http.post("/v1/responses", json=HI, headers=KEY)
        other = await http.post("/v1/responses", json={**HI, "input": "else"}, headers=KEY)
        async with house.openai() as client:
            created = await client.responses.create(model="fast", input="ho", stream=True, extra_headers={"idempotency-key": "k2"})
            events = [event async for event in created]
            replayed = await client.responses.create(model="fast", input="ho", stream=True, extra_headers={"idempotency-key": "k2"})
            repeated = [event async for event in replayed]
    assert again.json()["id"] == first.json()["id"]
    assert ("idempotent-replayed" in first.headers, again.headers["idempotent-replayed"]) == (False, "true")
    assert (other.status_code, other.json()["error"]["code"]) == (422, "idempotency_key_reused")
    assert repeated[-1].response.output == events[-1].response.output
    assert [event.sequence_number for event in repeated] == list(range(len(repeated)))
    assert len(house.model.asked) == 2


async def test_a_key_in_flight_is_told_to_come_back(house: Any) -> None:
    async with silent_model(house) as (arrived, closed), house.http() as http:
        asking = asyncio.create_task(http.post("/v1/responses", json=HI, headers=KEY))
        await arrived.wait()
        second = await http.post("/v1/responses", json=HI, headers=KEY)
        retry = asyncio.create_task(http.post("/v1/responses", json=HI, headers=RETRY))
        await asyncio.sleep(0.05)
        assert not retry.done(), "a client that gave the first call up is answered anew"
        for task in (asking, retry):
            task.cancel()
        async with asyncio.timeout(50):
            await closed.wait()
    assert (second.status_code, second.headers["retry-after"]) == (409, "1")
    assert second.json()["error"]["code"] == "idempotency_key_in_flight"


async def test_a_repeated_slow_request_is_the_same_job_however_it_is_watched(house: Any) -> None:
    body = {"model": "slow", "input": "hi", "background": True}
    async with house.http() as http:
        first = (await http.post("/v1/responses", json=body, headers=KEY)).json()
        again = await http.post("/v1/responses", json=body, headers=KEY)
        counted = (await http.post("/v1/responses", json=body, headers={"x-stainless-retry-count": "0"})).json()
        retried = (await http.post("/v1/responses", json=body, headers=RETRY)).json()
    assert (again.json()["id"], again.headers["idempotent-replayed"]) == (first["id"], "true")
    assert retried["id"] == counted["id"] != first["id"]
    assert house.hints.count == 2


@pytest.mark.parametrize("is_stream", [False, True])
async def test_a_client_that_leaves_stops_the_fast_model_and_may_ask_again(house: Any, is_stream: bool) -> None:
    async with silent_model(house) as (arrived, closed):
        await leave(house, {**HI, "stream": is_stream}, arrived)
        async with asyncio.timeout(50):
            await closed.wait()
    from_now_on = asyncio.get_running_loop().time() + 40
    house.model.answer = _hello
    async with house.http() as http:
        while (answer := await http.post("/v1/responses", json={**HI, "stream": is_stream}, headers=KEY)).status_code == 409:
            assert asyncio.get_running_loop().time() < from_now_on
    assert "idempotent-replayed" not in answer.headers
    assert "Hello" in answer.text
    assert house.services.in_flight.count == 0


async def _hello(ask: Any) -> None:
    ask.begin_stream()
    ask.chunk(b'data: {"choices":[{"index":0,"delta":{"content":"Hello"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n')
    ask.chunk(b"")


async def test_a_client_that_leaves_a_slow_answer_cancels_nothing(house: Any) -> None:
    async with house.http() as http:
        for is_stream in (False, True):
            async with http.stream("POST", "/v1/responses", json={"model": "slow", "input": "hi", "stream": is_stream}):
                await house.next_job(1 + is_stream)
    await asyncio.sleep(0.05)
    for number in (1, 2):
        assert (await house.storage.jobs.get(await house.next_job(number), "acme")).status is JobStatus.QUEUED


async def test_a_model_that_is_away_is_an_error_and_the_response_failed(open_house: Any) -> None:
    async with open_house(fast={"url": "http://127.0.0.1:9/v1"}) as house, house.openai() as client:
        with pytest.raises(openai.InternalServerError) as whole:
            await client.responses.create(model="fast", input="hi")
        events = [event async for event in await client.responses.create(model="fast", input="hi", stream=True)]
        failed = await client.responses.retrieve(events[0].response.id)
    assert isinstance(whole.value.body, dict)
    assert whole.value.body["code"] == "model_unavailable"
    assert "127.0.0.1" not in whole.value.message
    assert [event.type for event in events] == ["response.created", "response.in_progress", "response.failed"]
    assert events[-1].response.error == failed.error
    assert failed.error is not None
    assert (failed.status, failed.error.code, failed.error.type) == ("failed", "server_error", "model_unavailable")
    assert "127.0.0.1" not in failed.error.message


async def test_an_answer_that_is_cut_at_its_limit_is_incomplete(house: Any) -> None:
    async def cut(ask: Any) -> None:
        ask.begin_stream()
        ask.chunk(b'data: {"choices":[{"index":0,"delta":{"content":"Hel"},"finish_reason":"length"}]}\n\ndata: [DONE]\n\n')
        ask.chunk(b"")

    house.model.answer = cut
    async with house.openai() as client:
        whole = await client.responses.create(model="fast", input="hi", max_output_tokens=16)
        events = [event async for event in await client.responses.create(model="fast", input="hi", stream=True)]
        stored = await client.responses.retrieve(whole.id)
    assert events[-1].type == "response.incomplete"
    for answer in (whole, events[-1].response, stored):
        assert (answer.status, answer.output_text, answer.output[0].status) == ("incomplete", "Hel", "incomplete")
        assert answer.incomplete_details is not None
        assert answer.incomplete_details.reason == "max_output_tokens"
        assert Response.model_validate(answer.model_dump(mode="json", by_alias=True)).error is None


async def test_an_answer_whose_gateway_died_is_not_in_progress_for_ever(open_house: Any) -> None:
    async with open_house(fast={"read_timeout_s": 5}) as house, house.http() as http, house.openai() as client:
        answered = (await http.post("/v1/responses", json=HI, headers=KEY)).json()["id"]
        template = await house.storage.responses.get(answered, "acme")
        orphan = replace(template, id=house.dependencies.ids.response(), status="in_progress", output=[])
        await house.storage.responses.begin(orphan)
        fresh = await client.responses.retrieve(orphan.id)
        await age(house, orphan.id, by_s=25)
        lost = await client.responses.retrieve(orphan.id)
    assert fresh.status == "in_progress"
    assert lost.error is not None
    assert (lost.status, lost.error.type) == ("failed", "gateway_lost")


async def age(house: Any, response_id: str, by_s: float) -> None:
    """As if the response had been begun that much earlier."""
    database = Database(house.settings.database_url, house.settings.database)
    made_older = update(responses).where(responses.c.id == response_id).values(created_at=responses.c.created_at - by_s)
    await database.write(lambda connection: connection.execute(made_older))
    await database.close()


@pytest.mark.parametrize(
    ("path", "status", "param"),
    [
        ("/v1/responses/resp_nonsense", 404, "response_id"),
        ("/v1/responses/resp_01m8000000000000000000000a", 404, "response_id"),
        ("/v1/responses/resp_01m8000000000000000000000a?stream=true", 404, "response_id"),
        ("/v1/responses/resp_01m8000000000000000000000a/input_items", 404, "response_id"),
        ("/v1/responses/{fast}?stream=true", 400, "stream"),
        ("/v1/responses/{fast}?stream=true&starting_after=-4", 400, "starting_after"),
        ("/v1/responses/{fast}/input_items?after=msg_1", 404, "after"),
        ("/v1/responses/{fast}/input_items?limit=0", 400, "limit"),
        ("/v1/responses/{fast}/input_items?order=up", 400, "order"),
    ],
)
async def test_a_wrong_address_is_named(house: Any, path: str, status: int, param: str) -> None:
    async with house.http() as http:
        fast = (await http.post("/v1/responses", json=HI)).json()["id"]
        answer = await http.get(path.replace("{fast}", fast))
    assert (answer.status_code, answer.json()["error"]["param"]) == (status, param)


async def test_a_response_belongs_to_its_tenant(house: Any) -> None:
    async with house.http() as http, house.http(house.other_token) as rival:
        mine = (await http.post("/v1/responses", json={"model": "slow", "input": "hi", "background": True})).json()["id"]
        answers = [
            await rival.get(f"/v1/responses/{mine}"),
            await rival.get(f"/v1/responses/{mine}?stream=true"),
            await rival.post(f"/v1/responses/{mine}/cancel"),
            await rival.delete(f"/v1/responses/{mine}"),
            await rival.get(f"/v1/responses/{mine}/input_items"),
        ]
        continued = await rival.post("/v1/responses", json={**HI, "previous_response_id": mine})
        malformed = await http.post("/v1/responses", json={**HI, "previous_response_id": "resp_1"})
    assert {answer.status_code for answer in answers} == {404}
    assert [(each.status_code, each.json()["error"]["param"]) for each in (continued, malformed)] == [(404, "previous_response_id")] * 2


@pytest.mark.parametrize("kind", [JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED, JobStatus.INCOMPLETE])
async def test_the_client_unwraps_the_webhook_of_every_end(open_house: Any, kind: Any) -> None:
    async with open_house(egress={"allow": "127.0.0.1"}) as house:
        async with house.http() as http:
            endpoint = await http.post("/v1/webhook_endpoints", json={"url": "http://127.0.0.1:9/hook"})
            created = await http.post("/v1/responses", json={"model": "slow", "input": "hi", "background": True})
        claim = await house.claim(await house.next_job())
        error = None if kind is JobStatus.COMPLETED else JobFailure(code="budget_reached", message="max_calls")
        await house.storage.work.finish(claim.job_id, claim.epoch, Outcome(kind, JobResult(output_text="42"), error))
        (delivery,) = await house.storage.outbox.claim(10, 30)
    secret = endpoint.json()["secret"]
    headers = signed_headers([parse_signing_key(secret)], delivery.id, int(time.time()), delivery.body)
    with OpenAI(api_key="x", webhook_secret=secret) as client:
        event = client.webhooks.unwrap(delivery.body, headers)
    assert (event.type, event.data.id) == (f"response.{kind}", created.json()["id"])  # type: ignore[union-attr]
