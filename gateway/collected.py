"""Prompts that both lanes answered and whose answers were scored elsewhere (``tandem router collect``), made readable for a replay.

They are nobody's traffic: they tell how good a policy's answers would be, not how many go slow.
"""

from dataclasses import dataclass
from typing import Final

from router.policy import Policy, decide
from tandem.ids import DecisionId, OutcomeId, TenantId
from tandem.ports import Classifier, LoggedDecision, OutcomeStore, Turns
from tandem.schemas.outcomes import Outcome
from tandem.schemas.policies import RoutingPolicy

MAX_ROWS: Final = 5_000
PAGE: Final = 500
_NOBODY: Final = TenantId("collected")


@dataclass(frozen=True, slots=True)
class Collected:
    """Rows with the decisions that the linear model makes of them."""

    logged: list[LoggedDecision]
    outcomes: dict[DecisionId, list[Outcome]]


async def read_collected(store: OutcomeStore, classifier: Classifier, policy: RoutingPolicy) -> Collected:
    """The newest rows that nobody rejected."""
    asked = Policy.of("collected", policy)
    found = Collected([], {})
    after: OutcomeId | None = None
    while len(found.logged) < MAX_ROWS and (page := await store.list(status=None, kind="answer_scored", after=after, limit=PAGE)):
        for row in page:
            if row.source == "collect" and row.status != "rejected" and row.text is not None:
                known = DecisionId(row.decision_id)
                decision = decide(Turns(row.text), classifier, asked)
                found.logged.append(LoggedDecision(known, _NOBODY, decision, len(row.text), "chat", row.text))
                found.outcomes[known] = [row]
        after = OutcomeId(page[-1].id)
        if len(page) < PAGE:
            break
    return found
