import httpx
import pytest
from structlog.testing import capture_logs

from fast_model.readout import ReadoutModel
from fast_model.readout_calibration import raw_calibration
from gateway.limits import InFlight
from gateway.questions import QuestionDesk
from tandem.errors import TooManyRequests, UnknownModel
from tandem.models import Endpoint, OpenAIChatModel
from tandem.models.decision_model import DecisionEndpoint, RemoteDecisionModel
from tandem.schemas.questions import Question, QuestionSet

ASKED = QuestionSet(state="Hi", questions=[Question(name="a", kind="noul", instructions="?")])


def readout() -> ReadoutModel:
    chat = OpenAIChatModel(Endpoint(url="http://127.0.0.1:9/v1", model="m-fast"))
    return ReadoutModel(chat, raw_calibration("m-fast"), context_tokens=2_048)


def remote(response: httpx.Response) -> RemoteDecisionModel:
    return RemoteDecisionModel(DecisionEndpoint(url="http://decisions/v1", model="jev"), transport=httpx.MockTransport(lambda _: response))


@pytest.mark.parametrize(
    ("response", "event"),
    [
        (httpx.Response(200, json={"model": "jev-1", "answers": {"is_colour": {"type": "noul", "noul": 0.9}}}), "decision_model_answers"),
        (httpx.Response(501, json={"error": "not a decision model"}), "decision_model_does_not_answer"),
    ],
)
async def test_at_start_the_log_says_whether_the_decision_model_answers(response: httpx.Response, event: str) -> None:
    model = remote(response)
    with capture_logs() as logs:
        await QuestionDesk(readout(), model, InFlight(1), 1_000).probe()
    await model.close()
    assert [line["event"] for line in logs] == [event]


async def test_without_a_decision_model_nothing_is_asked_at_start() -> None:
    with capture_logs() as logs:
        await QuestionDesk(readout(), None, InFlight(1), 1_000).probe()
    assert logs == []


async def test_questions_count_among_the_requests_in_flight() -> None:
    with pytest.raises(TooManyRequests):
        await QuestionDesk(readout(), None, InFlight(0), 1_000).answer(ASKED, "state")


def test_a_model_that_is_not_asked_here_is_refused_with_those_that_are() -> None:
    desk = QuestionDesk(readout(), None, InFlight(1), 1_000)
    for name in ("auto", "fast", "m-fast"):
        desk.check_model(name)
    with pytest.raises(UnknownModel, match="use one of auto, fast, m-fast"):
        desk.check_model("slow")
