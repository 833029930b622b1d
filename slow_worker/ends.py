"""What became of one run of one job."""

from enum import StrEnum


class RunEnd(StrEnum):
    """What became of one hint."""

    NOTHING = "nothing"
    """No job was due."""
    FINISHED = "finished"
    PARKED = "parked"
    DEFERRED = "deferred"
    RELEASED = "released"
    LOST = "lost"
    EXHAUSTED = "exhausted"
    """The job is finished, and this process has no memory left and must be replaced."""
