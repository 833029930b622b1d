"""What the conversation around a message tells. Knows nothing of weights, lanes or policies."""

from tandem.ports import Turns
from tandem.schemas.routing import Signs


def signs_of(turns: Turns) -> Signs:
    """The signs of a conversation."""
    return Signs(turns=len(turns.history), has_running_job=turns.has_running_job, previous_lane=turns.previous_lane)
