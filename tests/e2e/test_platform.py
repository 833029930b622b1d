"""What ``make run`` promises, seen from outside: both lanes proven, the stock client, jobs, a verified webhook, crashes survived, no orphans."""

import os
import signal
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from openai import OpenAI
from standardwebhooks import Webhook

from tandem.client import TandemClient
from tandem.schemas.events import JobEvent
from tandem.schemas.jobs import AnswerContract, JobRequest, JobStatus
from tandem.testing.platform import Platform, platform_on_script
from tandem.testing.services import REDIS, redis_prefix, throw_away_database_here

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

PROOF_S = 600.0
"""Longest wait for the proof of both lanes on a real model, whose download and words share the machine with everything else."""
PATIENCE_S = 120.0
"""Longest wait for what has to come; it costs nothing where all is well."""
SLOW_SCRIPT = {"default": {"text": "I think about it for a while, word by word, without any hurry.\nAnswer: 12", "token_gap_s": 0.3}}


def wait_until(is_true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not is_true():
        assert time.monotonic() < deadline, f"{what}: not within {PATIENCE_S} s"
        time.sleep(0.05)


@contextmanager
def receiver() -> Generator[tuple[str, list[tuple[dict[str, str], bytes]]]]:
    """An HTTP server that keeps what it is sent."""
    received: list[tuple[dict[str, str], bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            received.append(({name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(204)
            self.end_headers()

        def log_request(self, code: object = "-", size: object = "-") -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/hook", received
        finally:
            server.shutdown()
            thread.join()


def openai_client(platform: Platform) -> OpenAI:
    return OpenAI(base_url=f"{platform.gateway}/v1", api_key=platform.key, timeout=200, max_retries=0)


def test_up_proves_both_lanes_on_a_real_model_and_says_where_to_click(tiny_platform: Platform) -> None:
    printed = tiny_platform.wait_for("Ctrl-C stops everything", timeout_s=PROOF_S)
    assert "first words after" in printed
    assert tiny_platform.pages in printed
    assert tiny_platform.gateway in printed


def test_the_stock_client_streams_a_fast_answer(tiny_platform: Platform) -> None:
    tiny_platform.wait_for("Ctrl-C stops everything", timeout_s=PROOF_S)
    with openai_client(tiny_platform) as client:
        stream = client.chat.completions.create(model="fast", messages=[{"role": "user", "content": "Say hello."}], max_tokens=16, stream=True)
        assert stream.response.headers["x-tandem-lane"] == "fast"
        text = "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
    assert text.strip()


@pytest.mark.parametrize("greeting", ["你好", "hi"])
def test_a_greeting_stays_fast(tiny_platform: Platform, greeting: str) -> None:
    tiny_platform.wait_for("Ctrl-C stops everything", timeout_s=PROOF_S)
    with openai_client(tiny_platform) as client:
        raw = client.chat.completions.with_raw_response.create(model="auto", messages=[{"role": "user", "content": greeting}], max_tokens=8)
    assert raw.headers["x-tandem-lane"] == "fast"
    assert raw.headers["x-tandem-decision"].startswith("dec_")


def test_the_pages_are_served(tiny_platform: Platform) -> None:
    tiny_platform.wait_for("Ctrl-C stops everything", timeout_s=PROOF_S)
    assert httpx.get(tiny_platform.pages, trust_env=False).status_code == 200


def test_the_stock_client_gets_a_slow_answer(scripted_platform: Platform) -> None:
    with openai_client(scripted_platform) as client:
        raw = client.chat.completions.with_raw_response.create(model="slow", messages=[{"role": "user", "content": "What is 3 times 4?"}])
    assert raw.headers["x-tandem-job"].startswith("job_")
    assert "12" in (raw.parse().choices[0].message.content or "")


def test_a_job_ends_with_a_webhook_that_the_reference_library_verifies(scripted_platform: Platform) -> None:
    secret = (scripted_platform.home / "secrets" / "webhook_secret").read_text(encoding="utf-8").strip()
    with receiver() as (url, received), TandemClient(scripted_platform.gateway, scripted_platform.key) as client:
        request = JobRequest(input="What is 3 times 4?", answer=AnswerContract(kind="number"), effort="low", webhook_url=url, metadata={"order": "7"})
        job = client.create_job(request)
        events = list(client.job_events(job.id))
        wait_until(lambda: bool(received), "the webhook comes")
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert events[-1].type == JobEvent.COMPLETED
    assert JobEvent.PLAN_CREATED in {event.type for event in events}
    headers, body = received[0]
    verified = Webhook(secret).verify(body, headers)
    assert verified["data"] == {"id": job.id, "job_id": job.id, "status": "completed", "sequence_number": len(events) - 1, "metadata": {"order": "7"}}


def test_a_real_database_and_redis_replace_the_embedded_ones(tmp_path: Path) -> None:
    with throw_away_database_here() as url:
        environ = {"TANDEM_DATABASE_URL": url, "TANDEM_REDIS_URL": REDIS, "TANDEM_REDIS_PREFIX": redis_prefix()}
        with platform_on_script(tmp_path, "--no-ui", environ=environ) as platform, TandemClient(platform.gateway, platform.key) as client:
            job = client.create_job(JobRequest(input="What is 3 times 4?", answer=AnswerContract(kind="number"), effort="low"))
            events = list(client.job_events(job.id))
            assert client.get_job(job.id).answer == 12
            assert client.ready().components["redis"].state == "ok"
            assert "valkey" not in platform.printed()
        assert [event.sequence_number for event in events] == list(range(len(events)))
        assert not (tmp_path / "home" / "tandem.sqlite3").exists()


def test_a_job_is_accepted_and_done_while_redis_is_killed(tmp_path: Path) -> None:
    with platform_on_script(tmp_path, "--no-ui") as platform, TandemClient(platform.gateway, platform.key) as client:
        [valkey] = [pid for pid, line in platform.processes().items() if "valkey-server" in line]
        os.kill(valkey, signal.SIGKILL)
        job = client.create_job(JobRequest(input="What is 3 times 4?", answer=AnswerContract(kind="number"), effort="low"))
        done = client.wait_for_job(job.id, timeout_s=120)
    assert (done.status, done.answer) == (JobStatus.COMPLETED, 12)


def worker_pids(platform: Platform) -> list[int]:
    return [pid for pid, line in platform.processes().items() if "slow_worker" in line]


def test_a_job_survives_the_kill_of_its_worker(tmp_path: Path) -> None:
    environ = {"TANDEM_WORKER_LEASE_S": "3"}
    with (
        platform_on_script(tmp_path, "--no-ui", script=SLOW_SCRIPT, environ=environ) as platform,
        TandemClient(platform.gateway, platform.key) as client,
    ):
        job = client.create_job(JobRequest(input="What is 3 times 4?", answer=AnswerContract(kind="number"), effort="low"))
        wait_until(lambda: client.get_job(job.id).status is JobStatus.IN_PROGRESS, "the job is begun")
        time.sleep(1.0)  # into the first model call
        for pid in worker_pids(platform):
            os.kill(pid, signal.SIGKILL)
        events = list(client.job_events(job.id))
        done = client.get_job(job.id)
    assert (done.status, done.answer) == (JobStatus.COMPLETED, 12)
    assert done.attempt >= 2
    types = [event.type for event in events]
    assert types.count(JobEvent.COMPLETED) == 1
    assert JobEvent.ATTEMPT_LOST in types
    assert [event.sequence_number for event in events] == list(range(len(events)))


def test_killing_up_leaves_no_process(tmp_path: Path) -> None:
    with platform_on_script(tmp_path) as platform:
        running = " ".join(platform.processes().values())
        for part in ("valkey-server", "-m gateway", "gateway.dispatcher", "slow_worker", "-m ui", "guardian.py"):
            assert part in running, f"{part} is not among {running}"
        platform.process.kill()
        platform.process.wait(PATIENCE_S)
        wait_until(lambda: not platform.processes(), "all processes have ended")


def test_an_interrupt_stops_everything_in_order(tmp_path: Path) -> None:
    with platform_on_script(tmp_path, "--no-ui") as platform:
        platform.process.send_signal(signal.SIGINT)
        assert platform.process.wait(PATIENCE_S) == 0
        assert not platform.processes()
        assert "stopped" in platform.printed()


def test_two_instances_stand_side_by_side(scripted_platform: Platform, tmp_path: Path) -> None:
    with platform_on_script(tmp_path, "--no-ui") as other, TandemClient(other.gateway, other.key) as client:
        assert other.key != scripted_platform.key
        assert client.ready().state in ("ok", "degraded")
        assert (
            httpx.get(f"{other.gateway}/v1/models", headers={"Authorization": f"Bearer {scripted_platform.key}"}, trust_env=False).status_code == 401
        )
