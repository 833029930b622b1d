"""Fixtures of the pages' tests: a gateway in memory for single pages, and real processes for the journeys in a browser."""

import itertools
from dataclasses import dataclass, field
from datetime import UTC, datetime

import httpx
import pytest
from pydantic import BaseModel

from tandem.client import TandemClient
from tandem.schemas.errors import ErrorBody, ErrorDetail
from tandem.schemas.events import Event, EventPage
from tandem.schemas.jobs import Job, JobPage, JobRequest, JobStatus, JobView
from tandem.schemas.threads import MessageCreate, MessagePage, Thread, ThreadMessage, ThreadPage, Turn

START = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class GatewayInMemory:
    """Answers the doors that the pages use, through the client's real core."""

    threads: dict[str, list[ThreadMessage]] = field(default_factory=dict[str, list[ThreadMessage]])
    jobs: dict[str, Job] = field(default_factory=dict[str, Job])
    sent: list[MessageCreate] = field(default_factory=list[MessageCreate])
    is_away: bool = False
    refuses_with: str | None = None
    _numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    def client(self) -> TandemClient:
        return TandemClient("http://127.0.0.1:1", transport=httpx.MockTransport(self.answer))

    def add_message(self, thread_id: str, **values: object) -> ThreadMessage:
        seq = next(self._numbers)
        base = {"id": f"msg_{seq}", "thread_id": thread_id, "turn_id": f"trn_{seq}", "role": "assistant", "created_at": START, "seq": seq}
        message = ThreadMessage.model_validate(base | values)
        self.threads.setdefault(thread_id, []).append(message)
        return message

    def add_job(self, job_id: str, status: JobStatus, **values: object) -> Job:
        request = JobRequest(input="Solve the puzzle")
        base = {"id": job_id, "status": status, "created_at": START, "effort": "medium", "request": request, "last_seq": 1}
        self.jobs[job_id] = Job.model_validate(base | {"view": JobView(title="Solve the puzzle")} | values)
        return self.jobs[job_id]

    def answer(self, request: httpx.Request) -> httpx.Response:
        if self.is_away:
            raise httpx.ConnectError("refused")
        if self.refuses_with:
            return _error(401, self.refuses_with)
        _, _, *parts = request.url.path.split("/")
        answer = self._threads_door(request, parts[1:]) if parts[0] == "threads" else self._jobs_door(request, parts[1:])
        return answer or _error(404, "not_found")

    def _threads_door(self, request: httpx.Request, parts: list[str]) -> httpx.Response | None:
        match request.method, *parts:
            case ("GET",):
                return _json(ThreadPage(data=[self._thread(thread_id) for thread_id in self.threads]))
            case ("POST",):
                self.threads["thr_new"] = []
                return _json(self._thread("thr_new"))
            case ("GET", thread_id, "messages") if thread_id in self.threads:
                return _json(self._messages(thread_id))
            case ("POST", thread_id, "messages") if thread_id in self.threads:
                return self._send(thread_id, request)
            case _:
                return None

    def _jobs_door(self, request: httpx.Request, parts: list[str]) -> httpx.Response | None:
        match request.method, *parts:
            case ("GET",):
                return _json(JobPage(data=list(self.jobs.values())))
            case ("GET", job_id) if job_id in self.jobs:
                return _json(self.jobs[job_id])
            case ("POST", job_id, "cancel") if job_id in self.jobs:
                return _json(self.add_job(job_id, JobStatus.CANCELLED))
            case ("GET", job_id, "events"):
                event = Event(type="response.created", sequence_number=0, created_at=START, stream_id=job_id)
                return _json(EventPage(data=[event], next_after=0, is_final=False))
            case _:
                return None

    def _thread(self, thread_id: str) -> Thread:
        return Thread(id=thread_id, title=f"About {thread_id}", created_at=START, last_seq=0)

    def _messages(self, thread_id: str) -> MessagePage:
        running = [job.id for job in self.jobs.values() if not job.status.is_terminal]
        return MessagePage(data=self.threads[thread_id], live_after=0, running_jobs=running)

    def _send(self, thread_id: str, request: httpx.Request) -> httpx.Response:
        self.sent.append(body := MessageCreate.model_validate_json(request.content))
        message = self.add_message(thread_id, role="user", content=body.content)
        return _json(Turn(id="trn_new", thread_id=thread_id, message_id=message.id, status="running"), 202)


@pytest.fixture
def gateway_in_memory() -> GatewayInMemory:
    return GatewayInMemory()


def _json(body: BaseModel, status: int = 200) -> httpx.Response:
    return httpx.Response(status, text=body.model_dump_json(by_alias=True))


def _error(status: int, code: str) -> httpx.Response:
    return httpx.Response(status, text=ErrorBody(error=ErrorDetail(message=f"because {code}", type="t", code=code)).model_dump_json())
