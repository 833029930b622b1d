"""A job's questions: listed, answered once, in their kind."""

import asyncio
from typing import Any

import httpx
import pytest

from tandem.ids import JobId
from tandem.ports import Claim, Parking
from tandem.schemas.inputs import InputAsk
from tandem.schemas.jobs import JobStatus

pytestmark = pytest.mark.integration
both_databases = pytest.mark.parametrize("database_url", ["sqlite", "postgres"], indirect=True)
FORM: dict[str, Any] = {
    "type": "object",
    "properties": {"size": {"type": "integer", "minimum": 1}, "mail": {"type": "string", "format": "email"}},
    "required": ["size"],
    "additionalProperties": False,
}
TEXT = InputAsk(key="why", kind="text", prompt="Why?")
CHOICE = InputAsk(key="colour", kind="choice", prompt="Which colour?", choices=["red", "blue"])
SIZES = InputAsk.model_validate({"key": "sizes", "kind": "form", "prompt": "How large?", "schema": FORM})
PLAN = InputAsk.model_validate({"key": "plan", "kind": "approval", "prompt": "Shall I?", "schema": FORM, "proposal": {"size": 3}})
BARE = InputAsk(key="go", kind="approval", prompt="Shall I?")


async def asking(house: Any, client: httpx.AsyncClient, *asks: InputAsk) -> tuple[str, Claim]:
    """A job that waits for the answers: its path, and the claim that parked it."""
    job = (await client.post("/v1/jobs", json={"input": "paint it"})).json()
    claim = await house.claim(JobId(job["id"]))
    await house.park(claim, Parking(status=JobStatus.INPUT_REQUIRED, asks=asks, wait_s=60))
    return f"/v1/jobs/{job['id']}", claim


async def ids(client: httpx.AsyncClient, path: str) -> list[str]:
    return [question["id"] for question in (await client.get(f"{path}/inputs")).json()["data"]]


@both_databases
async def test_a_job_goes_on_when_its_last_question_is_answered(house: Any) -> None:
    async with house.http() as client:
        path, _ = await asking(house, client, CHOICE, TEXT)
        first, second = await ids(client, path)
        assert (await client.get(path)).json()["status"] == "input_required"
        hints = house.hints.count
        answered = (await client.post(f"{path}/inputs/{first}", json={"value": "red"})).json()
        assert (answered["status"], answered["value"], answered["key"]) == ("answered", "red", "colour")
        assert (await client.get(path)).json()["status"] == "input_required"
        await client.post(f"{path}/inputs/{second}", json={"value": "because"})
        assert (await client.get(path)).json()["status"] == "queued"
        assert (await client.get(f"{path}/inputs/{second}")).json()["value"] == "because"
        async with asyncio.timeout(50):
            while house.hints.count == hints:
                await asyncio.sleep(0.005)
        claim = await house.claim(JobId(path.rsplit("/", 1)[1]))
    assert [(question.key, question.value) for question in claim.inputs] == [("colour", "red"), ("why", "because")]


@both_databases
async def test_a_question_is_answered_once(house: Any) -> None:
    async with house.http() as client:
        path, _ = await asking(house, client, CHOICE)
        door, key = f"{path}/inputs/{(await ids(client, path))[0]}", {"idempotency-key": "mine"}
        answers = await asyncio.gather(*[client.post(door, json={"value": colour}) for colour in ("red", "blue", "red", "blue")])
        won = [answer for answer in answers if answer.status_code == 200]
        lost = [answer for answer in answers if answer.status_code == 409]
        assert (len(won), len(lost)) == (1, 3)
        assert {answer.json()["error"]["code"] for answer in lost} == {"input_closed"}
        assert all(repr(won[0].json()["value"]) in answer.json()["error"]["message"] for answer in lost)
        late = await client.post(door, json={"value": "red"}, headers=key)
        assert late.json()["error"]["code"] == "input_closed"


@both_databases
async def test_the_same_answer_under_its_key_is_a_replay(house: Any) -> None:
    async with house.http() as client:
        path, _ = await asking(house, client, CHOICE)
        door, key = f"{path}/inputs/{(await ids(client, path))[0]}", {"idempotency-key": "mine"}
        first = await client.post(door, json={"value": "red"}, headers=key)
        again = await client.post(door, json={"value": "red"}, headers=key)
        other = await client.post(door, json={"value": "blue"}, headers=key)
    assert (first.status_code, again.status_code) == (200, 200)
    assert ("idempotent-replayed" in first.headers, again.headers["idempotent-replayed"]) == (False, "true")
    assert again.json() == first.json()
    assert (other.status_code, other.json()["error"]["code"]) == (422, "idempotency_key_reused")


async def test_an_ended_jobs_question_is_closed(house: Any) -> None:
    async with house.http() as client:
        path, _ = await asking(house, client, CHOICE)
        await client.post(f"{path}/cancel")
        door = f"{path}/inputs/{(await ids(client, path))[0]}"
        answer = await client.post(door, json={"value": "red"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "input_closed")
        assert (await client.get(door)).json()["status"] == "withdrawn"


@pytest.mark.parametrize(
    ("ask", "body", "param"),
    [
        (CHOICE, {"value": "green"}, "value"),
        (CHOICE, {"value": ["red"]}, "value"),
        (CHOICE, {"value": "red", "decision": "approve"}, "decision"),
        (CHOICE, {}, "value"),
        (TEXT, {"value": " "}, "value"),
        (TEXT, {"value": 7}, "value"),
        (TEXT, {"value": "a\x00b"}, "value"),
        (SIZES, {"value": "large"}, "value"),
        (SIZES, {"value": {}}, "value"),
        (SIZES, {"value": {"size": 0}}, "value.size"),
        (SIZES, {"value": {"size": 1, "mail": "nowhere"}}, "value.mail"),
        (SIZES, {"value": {"size": 1, "colour": "red"}}, "value"),
        (SIZES, {"value": {"size": 1, "mail": "\x00@x"}}, "value"),
        (PLAN, {}, "decision"),
        (PLAN, {"value": {"size": 3}}, "decision"),
        (PLAN, {"decision": "maybe"}, "decision"),
        (PLAN, {"decision": "approve", "value": {"size": 3}}, "value"),
        (PLAN, {"decision": "edit"}, "value"),
        (PLAN, {"decision": "edit", "value": {"size": -1}}, "value.size"),
        (BARE, {"decision": "edit", "value": {"size": 1}}, "decision"),
        (BARE, {"decision": "approve", "reason": "why not"}, "reason"),
    ],
)  # fmt: skip
async def test_an_answer_that_does_not_fit_is_refused_and_the_question_stays(house: Any, ask: InputAsk, body: Any, param: str) -> None:
    async with house.http() as client:
        path, _ = await asking(house, client, ask)
        door = f"{path}/inputs/{(await ids(client, path))[0]}"
        answer = await client.post(door, json=body)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, param), answer.text
        assert (await client.get(door)).json()["status"] == "pending"


@pytest.mark.parametrize(
    ("ask", "body"),
    [
        (SIZES, {"value": {"size": 2, "mail": "a@b.example"}}),
        (PLAN, {"decision": "approve"}),
        (PLAN, {"decision": "edit", "value": {"size": 4}}),
        (BARE, {"decision": "reject"}),
    ],
)
async def test_an_answer_that_fits_is_kept(house: Any, ask: InputAsk, body: Any) -> None:
    async with house.http() as client:
        path, _ = await asking(house, client, ask)
        answered = (await client.post(f"{path}/inputs/{(await ids(client, path))[0]}", json=body)).json()
    assert {name: answered[name] for name in body} == body


async def test_an_endless_answer_is_refused(open_house: Any) -> None:
    async with open_house(gateway={"max_input_chars": 100}) as house, house.http() as client:
        path, _ = await asking(house, client, TEXT)
        answer = await client.post(f"{path}/inputs/{(await ids(client, path))[0]}", json={"value": "x" * 101})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "input_too_long")


@pytest.mark.parametrize("name", ["nonsense", "inp_00000000000000000000000000"])
async def test_a_question_the_job_never_asked_is_not_found(house: Any, name: str) -> None:
    async with house.http() as client:
        path, _ = await asking(house, client, TEXT)
        for answer in (await client.get(f"{path}/inputs/{name}"), await client.post(f"{path}/inputs/{name}", json={"value": "x"})):
            assert (answer.status_code, answer.json()["error"]["param"]) == (404, "input_id")


async def test_a_key_that_may_only_read_may_not_answer(house: Any) -> None:
    async with house.http() as client, house.http(await house.new_token("acme", ["jobs:read"])) as reader:
        path, _ = await asking(house, client, TEXT)
        door = f"{path}/inputs/{(await ids(reader, path))[0]}"
        assert (await reader.post(door, json={"value": "x"})).status_code == 403
        assert (await reader.get(door)).json()["status"] == "pending"


async def test_a_form_whose_schema_points_outside_is_refused_and_nothing_is_fetched(house: Any) -> None:
    form = InputAsk.model_validate({"key": "f", "kind": "form", "prompt": "?", "schema": {"properties": {"n": {"$ref": f"{house.url}/healthz"}}}})
    async with house.http() as client:
        path, _ = await asking(house, client, form)
        (asked,) = await ids(client, path)
        answer = await client.post(f"{path}/inputs/{asked}", json={"value": {"n": 1}})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "value")
    assert "which is not part of it" in answer.json()["error"]["message"]
