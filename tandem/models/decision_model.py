"""Asks a decision model behind ``/v1/systemone`` or ``/v1/decisions``: TypeSafe's, OpenAI's, or an open one on llama.cpp, vLLM, SGLang or Tandem.

Servers that know the route answer 501 while the loaded model is no decision model, others 404: both mean "not offered" and say so. Redirects are not
followed and proxy variables are ignored.
"""

from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final, Literal

import httpx

from tandem.errors import ModelError, ModelUnavailable
from tandem.models.decision_bodies import decisions_body, read_decisions_answers, read_systemone_answers, systemone_body
from tandem.models.faults import answer_fault, error_words, transport_fault
from tandem.schemas.questions import AnswerSet, Question, QuestionSet

DecisionDoor = Literal["systemone", "decisions"]
CALIBRATION_HEADER: Final = "X-Tandem-Calibration"
"""Where a Tandem says by which calibration it answered."""
NOT_OFFERED: Final = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_IMPLEMENTED})
IDLE_CONNECTION_S: Final = 2.0
_PROBE: Final = QuestionSet(state="The sky is blue.", questions=[Question(name="is_colour", kind="noul", instructions="Is a colour named?")])


@dataclass(frozen=True, slots=True)
class DecisionEndpoint:
    """Where a decision model is served, and which protocol it speaks."""

    url: str
    """Base URL with ``/v1``."""
    model: str
    door: DecisionDoor = "systemone"
    api_key: str | None = field(default=None, repr=False)
    connect_timeout_s: float = 5.0
    timeout_s: float = 30.0


class RemoteDecisionModel:
    """Implements ``ports.DecisionModel``.

    Args:
        endpoint: The server.
        transport: Replaces the network in tests.
    """

    def __init__(self, endpoint: DecisionEndpoint, *, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._endpoint = endpoint
        self._url = f"{endpoint.url.rstrip('/')}/{endpoint.door}"
        self._http = httpx.AsyncClient(
            headers={"Authorization": f"Bearer {endpoint.api_key}"} if endpoint.api_key else {},
            timeout=httpx.Timeout(endpoint.timeout_s, connect=endpoint.connect_timeout_s),
            limits=httpx.Limits(keepalive_expiry=IDLE_CONNECTION_S),
            trust_env=False,
            follow_redirects=False,
            verify=endpoint.url.startswith("https:"),  # loading the root certificates takes longer than a local model's answer
            transport=transport,
        )

    @property
    def name(self) -> str:
        return self._endpoint.model

    async def answer(self, asked: QuestionSet) -> AnswerSet:
        is_systemone = self._endpoint.door == "systemone"
        body = systemone_body(self.name, asked) if is_systemone else decisions_body(self.name, asked)
        try:
            response = await self._http.post(self._url, json=body)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise transport_fault(error, self._url, is_mid_stream=False) from error
        if response.status_code != HTTPStatus.OK:
            raise self._fault(response)
        calibration = response.headers.get(CALIBRATION_HEADER, "none")
        read = read_systemone_answers if is_systemone else read_decisions_answers
        return read(asked, response.content, calibration)

    async def check(self) -> str:
        """The name of who answers, found by asking something tiny. Raises like ``answer``."""
        return (await self.answer(_PROBE)).model

    async def close(self) -> None:
        await self._http.aclose()

    def _fault(self, response: httpx.Response) -> ModelError:
        if response.status_code in NOT_OFFERED:
            said = error_words(response.content)
            return ModelUnavailable(
                f"{self._url} answers typed questions with HTTP {response.status_code}: {said}; load a decision model there, "
                "or change router.decision_model_url, router.decision_model_door or router.decision_model"
            )
        return answer_fault(response.status_code, response.content, self._url, response.headers.get("retry-after"))
