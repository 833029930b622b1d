"""``/v1/systemone`` and ``/v1/decisions``: typed questions about a text, answered with probabilities; two protocols, one answerer."""

from typing import Any, Final

from fastapi import APIRouter, Response

from gateway.routes.common import MayChat, UseServices
from tandem.models.decision_model import CALIBRATION_HEADER
from tandem.models.question_codecs import read_decisions, read_systemone, write_decisions, write_systemone
from tandem.schemas.decisions import DecisionReply, DecisionRequest
from tandem.schemas.questions import AnswerSet
from tandem.schemas.routing import ScoringBackend
from tandem.schemas.systemone import SystemOneReply, SystemOneRequest

ANSWERED_BY_HEADER: Final = "X-Tandem-Answered-By"
LEFT_OUT_HEADER: Final = "X-Tandem-Left-Out"
_HEADERS: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "The answers.",
        "headers": {
            name: {"description": text, "schema": {"type": "string"}}
            for name, text in {
                ANSWERED_BY_HEADER: "`readout` (the fast model's next-token probabilities) or `decision_model`.",
                CALIBRATION_HEADER: "Version of the calibration of the probabilities; `none` where they are as the model gave them.",
                LEFT_OUT_HEADER: "Characters out of the middle of the text that were not read, where it was too long.",
            }.items()
        },
    }
}

doors = APIRouter(prefix="/v1", tags=["questions"])


@doors.post("/systemone", responses=_HEADERS)
async def systemone(request: SystemOneRequest, response: Response, services: UseServices, caller: MayChat) -> SystemOneReply:  # noqa: ARG001 - the caller's scope is what is checked
    """The System One protocol: named questions of type `noul` (yes or no), `choice` or `score` about a state, answered with probabilities.

    Answered by the decision model that is configured, else by the fast model's next-token probabilities; no text is generated. A question the model
    could not answer is missing in `answers`.
    """
    desk = services.questions
    desk.check_model(request.model)
    answered = await desk.answer(read_systemone(request), "state")
    _tell(response, desk.backend, answered)
    return write_systemone(request, answered)


@doors.post("/decisions", responses=_HEADERS)
async def decisions(request: DecisionRequest, response: Response, services: UseServices, caller: MayChat) -> DecisionReply:  # noqa: ARG001 - see above
    """OpenAI's decisions protocol, for `client.decisions.create`: questions of type `predicate`, `choice` or `score`, answered in their order.

    Text only. A question the model could not answer comes back as `refusal`. Choice values keep their type: `true` and `"true"` are two values.
    """
    desk = services.questions
    desk.check_model(request.model)
    answered = await desk.answer(read_decisions(request), "input")
    _tell(response, desk.backend, answered)
    return write_decisions(request, answered)


def _tell(response: Response, backend: ScoringBackend, answered: AnswerSet) -> None:
    response.headers[ANSWERED_BY_HEADER] = backend
    response.headers[CALIBRATION_HEADER] = answered.calibration
    if answered.left_out_chars:
        response.headers[LEFT_OUT_HEADER] = str(answered.left_out_chars)
