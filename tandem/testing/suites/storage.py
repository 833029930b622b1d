"""The conformance suite of ``Storage``: subclass it where the fixtures are.

    class TestMyStorage(StorageConformance): ...

Fixtures it asks for: ``storage``, a migrated and empty ``Storage``; ``peers``, at least two ``Storage`` objects over one such database, as several
processes would have them; ``samples``, a ``Samples``; ``forgetting``, which gives a ``Retention`` of these settings over the same database.
"""

from tandem.testing.suites.audit import AuditConformance
from tandem.testing.suites.change import ChangeConformance, InputConformance, PauseConformance, ReadingConformance
from tandem.testing.suites.decision import DecisionConformance, FigureConformance
from tandem.testing.suites.family import FamilyConformance, RetryConformance
from tandem.testing.suites.file import FileConformance
from tandem.testing.suites.job import CreationConformance, EndConformance, ListingConformance
from tandem.testing.suites.memory import MemoryConformance
from tandem.testing.suites.outcome import LabelConformance, OutcomeConformance
from tandem.testing.suites.policy import PolicyConformance, PolicyRaceConformance, RoutingConformance
from tandem.testing.suites.race import RaceConformance
from tandem.testing.suites.reaper import ReaperConformance, TimeConformance
from tandem.testing.suites.record import KeyConformance, OutboxConformance, SchemaConformance
from tandem.testing.suites.response import ResponseConformance
from tandem.testing.suites.retention import RetentionConformance
from tandem.testing.suites.schedule import ScheduleConformance
from tandem.testing.suites.state import StateConformance
from tandem.testing.suites.thread import ThreadConformance
from tandem.testing.suites.tool_board import ToolBoardConformance
from tandem.testing.suites.webhook import WebhookConformance
from tandem.testing.suites.work import LeaseConformance, SteerConformance, TextConformance
from tandem.testing.suites.work_line import LineConformance, LineRaceConformance
from tandem.testing.suites.work_parking import DeferConformance, ParkingConformance
from tandem.testing.suites.work_state import ArtifactConformance, CheckpointConformance, LedgerConformance


class StorageConformance(
    CreationConformance,
    LeaseConformance,
    LineConformance,
    LineRaceConformance,
    TextConformance,
    SteerConformance,
    ParkingConformance,
    DeferConformance,
    LedgerConformance,
    ArtifactConformance,
    CheckpointConformance,
    ListingConformance,
    EndConformance,
    PauseConformance,
    ChangeConformance,
    InputConformance,
    ReadingConformance,
    FamilyConformance,
    RetryConformance,
    StateConformance,
    ReaperConformance,
    TimeConformance,
    ThreadConformance,
    KeyConformance,
    DecisionConformance,
    FigureConformance,
    OutcomeConformance,
    LabelConformance,
    PolicyConformance,
    RoutingConformance,
    PolicyRaceConformance,
    OutboxConformance,
    WebhookConformance,
    ScheduleConformance,
    ResponseConformance,
    FileConformance,
    MemoryConformance,
    AuditConformance,
    ToolBoardConformance,
    RetentionConformance,
    SchemaConformance,
    RaceConformance,
):
    """Everything a ``Storage`` promises."""
