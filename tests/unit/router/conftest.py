from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest

from router.artifacts import load_classifier
from router.policy import Policy
from tandem.ids import DecisionId, TenantId
from tandem.ports import Classifier, LoggedDecision, Score, Turns
from tandem.schemas.outcomes import Outcome
from tandem.schemas.policies import RoutingPolicy
from tandem.schemas.routing import Decision


class FixedClassifier:
    """Gives every request the same probability."""

    def __init__(self, p_slow: float) -> None:
        self._p_slow = p_slow

    @property
    def version(self) -> str:
        return "fixed"

    def score(self, turns: Turns) -> Score:
        return Score(p_slow=self._p_slow, contributions=(("length", 1.0),))


@pytest.fixture(scope="session")
def shipped() -> Classifier:
    return load_classifier()


@pytest.fixture
def certain_fast() -> Classifier:
    return FixedClassifier(0.0)


@pytest.fixture
def certain_slow() -> Classifier:
    return FixedClassifier(1.0)


@pytest.fixture
def policy() -> Policy:
    return Policy.of("test", RoutingPolicy())


@pytest.fixture(scope="session")
def logged() -> Callable[..., LoggedDecision]:
    """Makes logged decisions, each 36 s after the one before; what is not said follows from ``p_slow`` and the default cuts."""
    numbers = count()

    def make(p_slow: float, *, text: str | None = None, text_chars: int = 20, tenant: str = "default", **fields: object) -> LoggedDecision:
        number = next(numbers)
        lane = fields.pop("lane", "slow" if p_slow >= 0.5 else "fast")
        band = fields.pop("band", "slow" if lane == "slow" else "check" if p_slow >= 0.35 else "fast")
        made = {"lane": lane, "band": band, "effort": "medium" if lane == "slow" else "low", "p_slow": p_slow, "check_at": 0.35, "threshold": 0.5}
        made |= {"margin": p_slow - 0.5, "policy_version": "old", "model_version": "m", "language": "en"}
        return LoggedDecision(
            id=DecisionId(f"dec_{number}"),
            tenant=TenantId(tenant),
            decision=Decision.model_validate(made | fields),
            text_chars=len(text) if text is not None else text_chars,
            door="chat",
            text=text,
            created_at=datetime(2026, 11, 1, tzinfo=UTC) + timedelta(seconds=36 * number),
        )

    return make


@pytest.fixture(scope="session")
def outcome() -> Callable[..., Outcome]:
    """Makes outcomes of no decision in particular."""

    def make(**fields: object) -> Outcome:
        made = {"id": "out_1", "decision_id": "dec_1", "kind": "thumbs_up", "source": "user", "status": "pending", "wanted_lane": None}
        return Outcome.model_validate(made | {"created_at": datetime(2026, 11, 1, tzinfo=UTC)} | fields)

    return make
