"""Asks the router and logs its word. Turns the doors' conversations into the router's ``Turns``."""

from collections.abc import Sequence
from typing import Literal

from gateway.records import Recorder
from gateway.titles import title_of
from router.policy import Policy, decide
from tandem.ids import DecisionId, IdFactory, TenantId
from tandem.ports import Classifier, LoggedDecision, Turns
from tandem.schemas.chat import ChatMessage
from tandem.schemas.routing import Decision


class Routing:
    """One classifier and one policy; every decision that counts gets an id and goes to the log."""

    def __init__(self, classifier: Classifier, policy: Policy, ids: IdFactory, recorder: Recorder) -> None:
        self._classifier = classifier
        self._policy = policy
        self._ids = ids
        self._recorder = recorder

    def decide(self, turns: Turns, tenant: TenantId, door: Literal["chat", "jobs", "threads", "responses"]) -> tuple[DecisionId, Decision]:
        decision = self.try_out(turns)
        decision_id = self._ids.decision()
        self._recorder.decide(LoggedDecision(decision_id, tenant, decision, len(turns.text), door))
        return decision_id, decision

    def try_out(self, turns: Turns) -> Decision:
        """What would be decided; not logged."""
        return decide(turns, self._classifier, self._policy)


def newest_and_history(messages: Sequence[ChatMessage]) -> tuple[str, list[str]]:
    """The text to route (the newest human message, else the last message) and the human messages before it."""
    human = [message.content for message in messages if message.role == "user"]
    return (human[-1], human[:-1]) if human else (messages[-1].content, [])


__all__ = ["Routing", "newest_and_history", "title_of"]
