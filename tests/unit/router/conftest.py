import pytest

from router.artifacts import load_classifier
from router.policy import Policy
from tandem.ports import Classifier, Score, Turns
from tandem.schemas.policies import RoutingPolicy


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
