"""The conformance suite of ``Storage``: subclass it where the fixtures are.

    class TestMyStorage(StorageConformance): ...

Fixtures it asks for: ``storage``, a migrated and empty ``Storage``; ``peers``, at least two ``Storage`` objects over one such database, as several
processes would have them; ``samples``, a ``Samples``.
"""

from tandem.testing.job_suite import CreationConformance, EndConformance, LeaseConformance, ReaperConformance
from tandem.testing.race_suite import RaceConformance
from tandem.testing.record_suite import DecisionConformance, KeyConformance, OutboxConformance, SchemaConformance
from tandem.testing.thread_suite import ThreadConformance


class StorageConformance(
    CreationConformance,
    LeaseConformance,
    EndConformance,
    ReaperConformance,
    ThreadConformance,
    KeyConformance,
    DecisionConformance,
    OutboxConformance,
    SchemaConformance,
    RaceConformance,
):
    """Everything a ``Storage`` promises."""
