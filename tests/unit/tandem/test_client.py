"""The client against scripted answers; no network."""

import json
from collections.abc import Callable, Iterator

import httpx
import pytest
from pydantic import JsonValue

from tandem import errors
from tandem.client import AsyncTandemClient, ChatPiece, TandemClient
from tandem.client.calls import read_error, wait_for_job
from tandem.client.http import Door
from tandem.client.streams import MAX_FAILURES, Following
from tandem.schemas.events import Event, JobEvent
from tandem.schemas.jobs import Job, JobRequest, JobStatus, JobView
from tandem.sse import event_frame

NOW = "2026-01-01T00:00:00Z"
Handler = Callable[[httpx.Request], httpx.Response]


def job_json(status: JobStatus = JobStatus.QUEUED) -> dict[str, object]:
    job = Job.model_validate({
        "id": "job_1",
        "status": status,
        "created_at": NOW,
        "effort": "low",
        "request": {"input": "x"},
        "view": JobView(title="x"),
        "last_seq": 1,
    })
    return json.loads(job.model_dump_json(by_alias=True))


def frame(seq: int, kind: str, job_id: str = "job_1") -> bytes:
    event = Event.model_validate({"type": kind, "sequence_number": seq, "created_at": NOW, "stream_id": job_id})
    return event_frame(kind, seq, event.model_dump_json().encode())


def client(handler: Handler, slept: list[float] | None = None) -> TandemClient:
    naps = slept if slept is not None else []
    return TandemClient("http://127.0.0.1:1", "tdm_key", transport=httpx.MockTransport(handler), sleep=naps.append)


def error(status: int, code: str, **headers: str) -> httpx.Response:
    return httpx.Response(status, json={"error": {"message": "no", "type": "t", "code": code, "param": "budget"}}, headers=headers)


def test_a_job_is_posted_with_its_idempotency_key_and_bearer_token() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(202, json=job_json())

    job = client(answer).create_job(JobRequest(input="plan it"), idempotency_key="k1")
    assert job.id == "job_1"
    assert seen[0].headers["idempotency-key"] == "k1"
    assert seen[0].headers["authorization"] == "Bearer tdm_key"
    assert json.loads(seen[0].content) == {"input": "plan it"}


def test_an_id_typed_by_hand_cannot_leave_its_door() -> None:
    paths: list[bytes] = []

    def answer(request: httpx.Request) -> httpx.Response:
        paths.append(request.url.raw_path)
        return error(404, "not_found")

    with pytest.raises(errors.NotFound):
        client(answer).get_job("../keys?x=1")
    assert paths == [b"/v1/jobs/..%2Fkeys%3Fx%3D1"]


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("invalid_request", errors.InvalidRequest),
        ("not_found", errors.NotFound),
        ("conflict", errors.Conflict),
        ("model_unavailable", errors.ModelUnavailable),
        ("internal_error", errors.InternalError),
        ("context_length_exceeded", errors.ModelContextExceeded),
    ],
)
def test_an_error_code_becomes_its_class(code: str, kind: type[errors.TandemError]) -> None:
    with pytest.raises(errors.TandemError) as caught:
        client(lambda _: error(400, code)).list_jobs()
    assert type(caught.value) is kind
    assert caught.value.param == "budget"


@pytest.mark.parametrize(("status", "kind"), [(401, errors.AuthenticationFailed), (418, errors.CallerError), (500, errors.InternalError)])
def test_an_unknown_code_falls_back_to_its_status(status: int, kind: type[errors.TandemError]) -> None:
    body = b'{"error": {"message": "m", "type": "t", "code": "from_the_future"}}'
    assert type(read_error(status, {}, body)) is kind


def test_retry_after_is_kept() -> None:
    with pytest.raises(errors.TooManyRequests) as caught:
        client(lambda _: error(429, "too_many_requests", **{"retry-after": "7"})).models()
    assert caught.value.retry_after_s == 7.0


@pytest.mark.parametrize("response", [httpx.Response(200, text="<html>"), httpx.Response(502, text="Bad Gateway")])
def test_a_stranger_at_the_address_is_named(response: httpx.Response) -> None:
    with pytest.raises(errors.GatewayUnreachable, match="gateway"):
        client(lambda _: response).get_job("job_1")


def test_a_refused_connection_names_address_and_remedy() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    with pytest.raises(errors.GatewayUnreachable, match=r"127\.0\.0\.1:1.*is `tandem up` running"):
        client(refuse).models()


def test_a_platform_that_is_down_still_says_so() -> None:
    body = {"state": "down", "components": {"database": {"state": "down", "detail": "gone"}}, "version": "1"}
    assert client(lambda _: httpx.Response(503, json=body)).ready().state == "down"


def test_the_key_is_not_in_the_doors_repr() -> None:
    assert "tdm_key" not in repr(Door("http://127.0.0.1:1", "tdm_key"))


CHUNKS: list[dict[str, JsonValue]] = [
    {"choices": [{"index": 0, "delta": {"role": "assistant", "reasoning_content": "plan"}}]},
    {"choices": [{"index": 0, "delta": {"content": "你"}}]},
    {"choices": [{"index": 0, "delta": {"content": "好"}, "finish_reason": "stop"}]},
    {"choices": [], "usage": {"total_tokens": 3}},
]
HEADERS = {"X-Tandem-Lane": "slow", "X-Tandem-Job": "job_1", "X-Tandem-Decision": "dec_1", "content-type": "text/event-stream"}


def chat_stream(*, is_whole: bool = True) -> httpx.Response:
    text = "".join(f"data: {json.dumps(chunk, ensure_ascii=False)}\n\n" for chunk in CHUNKS) + ("data: [DONE]\n\n" if is_whole else "")
    return httpx.Response(200, content=text.encode(), headers=HEADERS)


def test_a_chat_tells_its_lane_and_job_before_the_first_word() -> None:
    pieces = list(client(lambda _: chat_stream()).chat("hi"))
    assert pieces[0] == ChatPiece(lane="slow", job_id="job_1", decision_id="dec_1")
    assert "".join(piece.content for piece in pieces) == "你好"
    assert "".join(piece.reasoning for piece in pieces) == "plan"
    assert pieces[-1].finish_reason == "stop"


def test_a_chat_can_be_asked_for_whole() -> None:
    body = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "42"}, "finish_reason": "stop"}]}
    pieces = list(client(lambda _: httpx.Response(200, json=body, headers={"X-Tandem-Lane": "fast"})).chat("hi", stream=False))
    assert [(piece.content, piece.lane) for piece in pieces] == [("", "fast"), ("42", "fast")]


def test_a_chat_that_is_cut_off_is_an_error() -> None:
    with pytest.raises(errors.GatewayUnreachable, match="middle of its reply"):
        list(client(lambda _: chat_stream(is_whole=False)).chat("hi"))


def test_an_error_inside_a_stream_is_raised() -> None:
    body = b'data: {"error": {"message": "slow down", "type": "model_error", "code": "model_timeout"}}\n\n'
    with pytest.raises(errors.ModelTimeout, match="slow down"):
        list(client(lambda _: httpx.Response(200, content=body)).chat("hi"))


def resuming() -> Iterator[httpx.Response]:
    """A log of four events over three connections: one is cut mid-frame, one repeats an old event."""
    yield httpx.Response(200, content=frame(0, JobEvent.CREATED) + frame(1, JobEvent.QUEUED)[:25])
    yield error(503, "storage_unavailable")
    yield httpx.Response(200, content=frame(0, JobEvent.CREATED) + frame(1, JobEvent.QUEUED) + frame(2, JobEvent.COMPLETED) + frame(3, "beyond"))


def test_a_followed_job_resumes_where_it_stopped_and_ends_with_the_job() -> None:
    asked: list[str] = []
    answers = resuming()

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.params["after"])
        return next(answers)

    naps: list[float] = []
    events = list(client(answer, naps).job_events("job_1"))
    assert [event.sequence_number for event in events] == [0, 1, 2]
    assert asked == ["-1", "0", "0"]
    assert len(naps) == 2


def test_following_beyond_the_end_of_an_ended_job_ends_at_once() -> None:
    naps: list[float] = []
    assert list(client(lambda _: httpx.Response(204), naps).job_events("job_1", after=7)) == []
    assert naps == []


def test_following_an_unknown_job_fails_at_once() -> None:
    with pytest.raises(errors.NotFound):
        list(client(lambda _: error(404, "not_found")).job_events("job_1"))


def test_following_gives_up_after_many_failures_with_growing_pauses() -> None:
    following = Following.of_job("job_1", -1)
    following.connected()
    away = errors.GatewayUnreachable("away")
    delays: list[float] = []
    for _ in range(MAX_FAILURES - 1):
        following.failed(away)
        delays.append(following.delay_s())
    assert 0.25 <= delays[0] <= 0.5
    assert 2.5 <= delays[-1] <= 5.0
    with pytest.raises(errors.GatewayUnreachable):
        following.failed(away)


def test_waiting_for_a_job_polls_until_it_ends() -> None:
    steps = iter([JobStatus.QUEUED, JobStatus.IN_PROGRESS, JobStatus.COMPLETED])
    assert client(lambda _: httpx.Response(200, json=job_json(next(steps)))).wait_for_job("job_1").status is JobStatus.COMPLETED


def test_waiting_stops_when_its_time_is_over() -> None:
    now = iter([0.0, 0.0, 26.0, 26.0, 31.0])
    polling = wait_for_job("job_1", 30.0, lambda: next(now))
    queued = Job.model_validate(job_json())
    assert next(polling).params == {"wait": "25"}
    assert polling.send(queued).params == {"wait": "4"}
    with pytest.raises(StopIteration) as end:
        polling.send(queued)
    assert end.value.value == queued


async def test_the_async_client_does_the_same() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/chat/completions":
            return chat_stream()
        if request.url.path.endswith("/events"):
            return httpx.Response(200, content=frame(0, JobEvent.CREATED) + frame(1, JobEvent.COMPLETED))
        return httpx.Response(200, json=job_json(JobStatus.COMPLETED))

    async with AsyncTandemClient("http://127.0.0.1:1", transport=httpx.MockTransport(answer)) as tandem:
        assert "".join([piece.content async for piece in tandem.chat("hi")]) == "你好"
        assert [event.sequence_number async for event in tandem.job_events("job_1")] == [0, 1]
        assert (await tandem.wait_for_job("job_1")).status is JobStatus.COMPLETED


def test_both_clients_offer_the_same() -> None:
    def offered(kind: type[object]) -> set[str]:
        return {name for name in dir(kind) if not name.startswith("_")}

    assert offered(TandemClient) == offered(AsyncTandemClient)
