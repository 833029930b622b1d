"""The client against scripted answers; no network."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import httpx
import pytest
from pydantic import JsonValue

from tandem import errors
from tandem.client import AsyncTandemClient, ChatPiece, TandemClient
from tandem.client.calls import read_error
from tandem.client.streams import MAX_FAILURES, Following
from tandem.client.waiting import Waiting
from tandem.schemas.events import STREAM_RESET, Event, JobEvent
from tandem.schemas.inputs import InputAnswer
from tandem.schemas.jobs import Job, JobChange, JobRequest, JobRetry, JobStatus, JobView
from tandem.schemas.outcomes import FeedbackCreate, LabelVerdict, OutcomeImport
from tandem.schemas.policies import PolicyDraft, Publish, ReplayRequest, RollBack, RoutingPolicy
from tandem.schemas.schedules import ScheduleChange, ScheduleCreate
from tandem.schemas.webhooks import EndpointChange, EndpointCreate
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


@pytest.mark.parametrize("status", [JobStatus.INPUT_REQUIRED, JobStatus.PAUSED, JobStatus.BUDGET_REACHED])
def test_waiting_stops_at_a_job_that_needs_somebody(status: JobStatus) -> None:
    steps = iter([JobStatus.IN_PROGRESS, status])
    assert client(lambda _: httpx.Response(200, json=job_json(next(steps)))).wait_for_job("job_1").status is status


def test_waiting_stops_when_its_time_is_over() -> None:
    now = iter([0.0, 0.0, 1.0, 26.0, 26.0, 31.0])
    waiting = Waiting("job_1", 30.0, lambda: next(now))
    queued = Job.model_validate(job_json())
    assert waiting.call().params == {}
    assert not waiting.is_over(queued)
    assert waiting.call().params == {"wait": "25"}
    assert not waiting.is_over(queued)
    assert waiting.call().params == {"wait": "4"}
    assert waiting.is_over(queued)


def test_waiting_outlives_a_gateway_that_is_started_again() -> None:
    answers = iter([
        httpx.Response(200, json=job_json(JobStatus.IN_PROGRESS)),
        httpx.ReadError("reset"),
        httpx.ConnectError("refused"),
        error(503, "storage_unavailable"),
        httpx.Response(200, json=job_json(JobStatus.COMPLETED)),
    ])

    def answer(_: httpx.Request) -> httpx.Response:
        if isinstance(step := next(answers), httpx.HTTPError):
            raise step
        return step

    slept: list[float] = []
    assert client(answer, slept).wait_for_job("job_1").status is JobStatus.COMPLETED
    assert len(slept) == 3
    assert slept[0] < slept[2]


def test_waiting_at_a_wrong_address_fails_at_once() -> None:
    def refuse(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    slept: list[float] = []
    with pytest.raises(errors.GatewayUnreachable):
        client(refuse, slept).wait_for_job("job_1")
    assert slept == []


def test_waiting_for_a_job_that_is_deleted_meanwhile_fails_at_once() -> None:
    answers = iter([httpx.Response(200, json=job_json()), error(404, "not_found")])
    slept: list[float] = []
    with pytest.raises(errors.NotFound):
        client(lambda _: next(answers), slept).wait_for_job("job_1")
    assert slept == []


def test_waiting_gives_up_on_a_gateway_that_stays_away() -> None:
    waiting = Waiting("job_1")
    assert not waiting.is_over(Job.model_validate(job_json()))
    away = errors.GatewayUnreachable("away")
    for _ in range(MAX_FAILURES - 1):
        waiting.failed(away)
    assert 2.5 <= waiting.delay_s() <= 5.0
    with pytest.raises(errors.GatewayUnreachable):
        waiting.failed(away)


def test_a_reset_moves_the_cursor_back_as_well_as_forth() -> None:
    asked: list[str] = []
    answers = iter([
        httpx.Response(200, content=frame(5, STREAM_RESET) + frame(6, JobEvent.QUEUED)),
        httpx.Response(200, content=frame(9, STREAM_RESET) + frame(9, "seen") + frame(10, JobEvent.COMPLETED)),
    ])

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.params["after"])
        return next(answers)

    events = list(client(answer).job_events("job_1", after=99))
    assert [(event.type, event.sequence_number) for event in events] == [
        (STREAM_RESET, 5),
        (JobEvent.QUEUED, 6),
        (STREAM_RESET, 9),
        (JobEvent.COMPLETED, 10),
    ]
    assert asked == ["99", "6"]


STEER = {"id": "str_1", "message": "faster", "created_at": NOW}
QUESTION = {"id": "inp_1", "job_id": "job_1", "key": "k", "kind": "text", "prompt": "?", "created_at": NOW, "expires_at": NOW}
ARTIFACT = {"id": "art_1", "name": "a.txt", "media_type": "text/plain", "size": 1, "created_at": NOW}
SCHEDULE = {
    "id": "sch_1", "name": "n", "cron": "* * * * *", "timezone": "UTC", "request": {"input": "x"}, "overlap": "skip", "is_enabled": True,
    "next_run_at": None, "created_at": NOW,
}  # fmt: skip
ENDPOINT: dict[str, JsonValue] = {
    "id": "whe_1",
    "url": "https://a.example",
    "description": "",
    "events": [],
    "signing": "hmac",
    "is_enabled": True,
    "created_at": NOW,
}
DELIVERY = {
    "id": "dlv_1", "type": "webhook_endpoint.test", "job_id": None, "endpoint_id": "whe_1", "url": "https://a.example", "state": "pending",
    "tries": 0, "status_code": None, "reason": None, "next_attempt_at": None, "created_at": NOW,
}  # fmt: skip
OPERATIONS = {"at": NOW, "by_status": {"queued": 2}, "oldest_queued_s": 3, "queued_by_key": {"a": 2}, "last_claim_s": None, "webhooks": {}}
POLICY: dict[str, JsonValue] = {
    "version": "pol_1",
    "number": 1,
    "status": "draft",
    "policy": {},
    "parent": None,
    "author": "key_1",
    "note": "",
    "created_at": NOW,
}
STATE = {"revision": 4, "active": "pol_1"}
UNKNOWN: dict[str, JsonValue] = {"value": None, "n": 0}
REPLAY: dict[str, JsonValue] = {
    "policy": {}, "decisions": 0, "slow_share_before": UNKNOWN, "slow_share": UNKNOWN, "check_share": UNKNOWN, "by_language": {}, "by_intent": {},
    "flips": 0, "examples": [], "queue_wait_s": UNKNOWN, "slow_seconds": UNKNOWN, "quality": UNKNOWN, "quality_basis": "unknown",
}  # fmt: skip
STATS: dict[str, object] = {
    "since": NOW, "versions": [], "by_language": {}, "by_intent": {}, "overrides": {}, "p_slow_histogram": [0] * 20, "drift": [],
    "oldest_queued_s": 0,
}  # fmt: skip
SHADOW = {"version": None, "decisions": 0, "agreement": UNKNOWN, "slow_share_before": UNKNOWN, "slow_share": UNKNOWN, "to_slow": 0, "to_fast": 0}
LABEL = {
    "id": "out_1", "decision_id": "dec_1", "kind": "reask", "source": "gateway", "status": "approved", "wanted_lane": "slow", "created_at": NOW,
}  # fmt: skip
SINCE = datetime(2026, 1, 2, tzinfo=UTC)
CALLS: list[tuple[Callable[[TandemClient], object], str, str, JsonValue, object]] = [
    (lambda t: t.change_job("job_1", JobChange(priority=1)), "PATCH", "/v1/jobs/job_1", {"priority": 1}, job_json()),
    (lambda t: t.cancel_job("job_1"), "POST", "/v1/jobs/job_1/cancel", None, job_json()),
    (lambda t: t.cancel_job("job_1", "rollback"), "POST", "/v1/jobs/job_1/cancel", {"mode": "rollback"}, job_json()),
    (lambda t: t.pause_job("job_1"), "POST", "/v1/jobs/job_1/pause", None, job_json()),
    (lambda t: t.resume_job("job_1"), "POST", "/v1/jobs/job_1/resume", None, job_json()),
    (lambda t: t.retry_job("job_1"), "POST", "/v1/jobs/job_1/retry", None, job_json()),
    (lambda t: t.retry_job("job_1", JobRetry.model_validate({"from": "start"})), "POST", "/v1/jobs/job_1/retry", {"from": "start"}, job_json()),
    (lambda t: t.steer_job("job_1", "faster"), "POST", "/v1/jobs/job_1/steer", {"message": "faster"}, STEER),
    (lambda t: t.delete_job("job_1"), "DELETE", "/v1/jobs/job_1", None, None),
    (lambda t: t.job_inputs("job_1"), "GET", "/v1/jobs/job_1/inputs", None, {"data": [QUESTION]}),
    (lambda t: t.answer_input("job_1", "inp_1", InputAnswer(value="a")), "POST", "/v1/jobs/job_1/inputs/inp_1", {"value": "a"}, QUESTION),
    (lambda t: t.job_steps("job_1"), "GET", "/v1/jobs/job_1/steps", None, {"data": []}),
    (lambda t: t.job_trace("job_1"), "GET", "/v1/jobs/job_1/trace", None, {"job_id": "job_1", "spans": []}),
    (lambda t: t.job_artifacts("job_1"), "GET", "/v1/jobs/job_1/artifacts", None, {"data": [ARTIFACT]}),
    (lambda t: t.read_artifact("job_1", "art_1"), "GET", "/v1/jobs/job_1/artifacts/art_1", None, {"any": "bytes"}),
    (lambda t: t.draft_policy(PolicyDraft(policy=RoutingPolicy(explore=0.01))), "POST", "/v1/router/policies", {"policy": {"explore": 0.01}}, POLICY),
    (lambda t: t.list_policies(), "GET", "/v1/router/policies", None, {"data": [POLICY]}),
    (lambda t: t.get_policy("pol_1"), "GET", "/v1/router/policies/pol_1", None, POLICY),
    (lambda t: t.validate_policy("pol_1"), "GET", "/v1/router/policies/pol_1/validation", None, {"problems": [], "judged_on": 0}),
    (lambda t: t.diff_policies("pol_1", "settings"), "GET", "/v1/router/policies/pol_1/diff", None, {"data": [], "against": "settings"}),
    (lambda t: t.publish_policy("pol_1", Publish(percent=5)), "POST", "/v1/router/policies/pol_1/publish", {"percent": 5}, STATE),
    (lambda t: t.advance_rollout(3), "POST", "/v1/router/advance", {"expected_revision": 3}, STATE),
    (lambda t: t.roll_back_policy(RollBack(to="settings")), "POST", "/v1/router/rollback", {"to": "settings"}, STATE),
    (lambda t: t.throw_kill_switch("rules"), "PUT", "/v1/router/kill", {"mode": "rules", "note": ""}, STATE),
    (lambda t: t.release_kill_switch(), "DELETE", "/v1/router/kill", None, STATE),
    (lambda t: t.routing_state(), "GET", "/v1/router/state", None, STATE),
    (lambda t: t.routing_history(), "GET", "/v1/router/history", None, {"data": []}),
    (lambda t: t.replay_policy(ReplayRequest(limit=9)), "POST", "/v1/router/replay", {"limit": 9}, REPLAY),
    (lambda t: t.router_stats(), "GET", "/v1/router/stats", None, STATS),
    (lambda t: t.shadow_report(), "GET", "/v1/router/shadow", None, SHADOW),
    (lambda t: t.set_shadow("pol_1"), "PUT", "/v1/router/shadow", {"version": "pol_1"}, STATE),
    (lambda t: t.end_shadow(), "DELETE", "/v1/router/shadow", None, STATE),
    (lambda t: t.list_labels("pending"), "GET", "/v1/router/labels", None, {"data": [LABEL]}),
    (lambda t: t.import_labels([OutcomeImport(text="x", fast_score=0, slow_score=1)]), "POST", "/v1/router/labels",
     {"rows": [{"text": "x", "fast_score": 0.0, "slow_score": 1.0}]}, {"decision_ids": ["dec_1"]}),
    (lambda t: t.judge_label("out_1", LabelVerdict(status="approved")), "POST", "/v1/router/labels/out_1", {"status": "approved"}, LABEL),
    (lambda t: t.export_labels(), "GET", "/v1/router/labels/export", None, LABEL),
    (lambda t: t.give_feedback(FeedbackCreate(decision_id="dec_1", kind="thumbs_up")), "POST", "/v1/feedback",
     {"decision_id": "dec_1", "kind": "thumbs_up"}, {"decision_id": "dec_1", "kind": "thumbs_up", "wanted_lane": None}),
    (lambda t: t.operations(), "GET", "/v1/operations", None, OPERATIONS),
    (lambda t: t.create_schedule(ScheduleCreate(name="n", cron="* * * * *", request=JobRequest(input="x"))), "POST", "/v1/schedules",
     {"name": "n", "cron": "* * * * *", "request": {"input": "x"}}, SCHEDULE),
    (lambda t: t.get_schedule("sch_1"), "GET", "/v1/schedules/sch_1", None, SCHEDULE),
    (lambda t: t.list_schedules(), "GET", "/v1/schedules", None, {"data": [SCHEDULE]}),
    (lambda t: t.change_schedule("sch_1", ScheduleChange(is_enabled=False)), "PATCH", "/v1/schedules/sch_1", {"is_enabled": False}, SCHEDULE),
    (lambda t: t.run_schedule("sch_1"), "POST", "/v1/schedules/sch_1/run", None, job_json()),
    (lambda t: t.delete_schedule("sch_1"), "DELETE", "/v1/schedules/sch_1", None, None),
    (lambda t: t.create_webhook_endpoint(EndpointCreate(url="https://a.example")), "POST", "/v1/webhook_endpoints",
     {"url": "https://a.example"}, ENDPOINT | {"secret": "whsec_x"}),
    (lambda t: t.get_webhook_endpoint("whe_1"), "GET", "/v1/webhook_endpoints/whe_1", None, ENDPOINT),
    (lambda t: t.list_webhook_endpoints(), "GET", "/v1/webhook_endpoints", None, {"data": [ENDPOINT]}),
    (lambda t: t.change_webhook_endpoint("whe_1", EndpointChange(is_enabled=True)), "PATCH", "/v1/webhook_endpoints/whe_1",
     {"is_enabled": True}, ENDPOINT),
    (lambda t: t.delete_webhook_endpoint("whe_1"), "DELETE", "/v1/webhook_endpoints/whe_1", None, None),
    (lambda t: t.rotate_webhook_secret("whe_1"), "POST", "/v1/webhook_endpoints/whe_1/rotate_secret", None, ENDPOINT | {"secret": "whsec_y"}),
    (lambda t: t.rotate_webhook_secret("whe_1", 0), "POST", "/v1/webhook_endpoints/whe_1/rotate_secret",
     {"overlap_seconds": 0}, ENDPOINT | {"secret": "whsec_y"}),
    (lambda t: t.test_webhook_endpoint("whe_1"), "POST", "/v1/webhook_endpoints/whe_1/test", None, DELIVERY),
    (lambda t: t.recover_webhook_endpoint("whe_1", SINCE), "POST", "/v1/webhook_endpoints/whe_1/recover",
     {"since": "2026-01-02T00:00:00Z"}, {"deliveries": 3}),
    (lambda t: t.list_webhook_deliveries(), "GET", "/v1/webhook_deliveries", None, {"data": [DELIVERY]}),
    (lambda t: t.get_webhook_delivery("dlv_1"), "GET", "/v1/webhook_deliveries/dlv_1", None, DELIVERY),
    (lambda t: t.retry_webhook_delivery("dlv_1"), "POST", "/v1/webhook_deliveries/dlv_1/retry", None, DELIVERY),
]  # fmt: skip


@pytest.mark.parametrize(("call", "method", "path", "body", "answer"), CALLS, ids=[f"{method} {path}" for _, method, path, _, _ in CALLS])
def test_every_wish_knocks_at_its_door(call: Callable[[TandemClient], object], method: str, path: str, body: JsonValue, answer: object) -> None:
    seen: list[httpx.Request] = []

    def reply(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(204) if answer is None else httpx.Response(200, json=answer)

    told = call(client(reply))
    assert (seen[0].method, seen[0].url.path) == (method, path)
    assert (json.loads(seen[0].content) if seen[0].content else None) == body
    assert (told is None) == (answer is None)


def test_a_listing_is_narrowed_by_what_is_given() -> None:
    seen: list[httpx.URL] = []

    def reply(request: httpx.Request) -> httpx.Response:
        seen.append(request.url)
        return httpx.Response(200, json={"data": []})

    client(reply).list_jobs(JobStatus.PAUSED, limit=5, metadata={"order id": "7&8"}, thread_id="thr_1", parent_id="job_2", schedule_id="sch_3")
    assert dict(seen[0].params) == {
        "status": "paused",
        "limit": "5",
        "metadata[order id]": "7&8",
        "thread_id": "thr_1",
        "parent_id": "job_2",
        "schedule_id": "sch_3",
    }


def test_every_creating_call_takes_a_key() -> None:
    keys: list[str] = []

    def reply(request: httpx.Request) -> httpx.Response:
        keys.append(request.headers["idempotency-key"])
        return error(409, "idempotency_key_in_flight")

    tandem = client(reply)
    for call in (
        lambda: tandem.create_job(JobRequest(input="x"), "1"),
        lambda: tandem.retry_job("job_1", idempotency_key="2"),
        lambda: tandem.steer_job("job_1", "x", "3"),
        lambda: tandem.answer_input("job_1", "inp_1", InputAnswer(), "4"),
        lambda: tandem.create_schedule(ScheduleCreate(name="n", cron="x", request=JobRequest(input="x")), "5"),
        lambda: tandem.create_webhook_endpoint(EndpointCreate(url="x"), "6"),
        lambda: tandem.create_thread(idempotency_key="7"),
        lambda: tandem.send_message("thr_1", "x", idempotency_key="8"),
        lambda: tandem.rotate_webhook_secret("whe_1", idempotency_key="9"),
    ):
        with pytest.raises(errors.IdempotencyKeyInFlight):
            call()
    assert keys == list("123456789")


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
