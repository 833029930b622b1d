"""What the gateway asks of its evidence process: one line of JSON each way. See ``evidence_process.py``."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from tandem.schemas.base import JsonObject, Wire
from tandem.schemas.policies import Replay, ReplayRequest, RouterStats, RoutingPolicy, ShadowReport, Validation


class Opening(Wire):
    """The first line: where the log is."""

    home: Path
    database_url: str
    """Perhaps with a password: this line never leaves the pipe."""
    database: JsonObject
    retention: JsonObject
    log: JsonObject
    artifact: Path | None
    """The scoring artefact, when it is not the shipped one."""


class ReplayTask(Wire):
    """Answered with a ``Replay``."""

    kind: Literal["replay"] = "replay"
    version: str
    policy: RoutingPolicy
    request: ReplayRequest


class ValidateTask(Wire):
    """Answered with a ``Validation``."""

    kind: Literal["validate"] = "validate"
    policy: RoutingPolicy


class StatsTask(Wire):
    """Answered with ``RouterStats``."""

    kind: Literal["stats"] = "stats"
    since_s: float
    policy: RoutingPolicy
    """The active one: drift is also from its target."""


class ShadowTask(Wire):
    """Answered with a ``ShadowReport``."""

    kind: Literal["shadow"] = "shadow"
    version: str
    since_s: float


Task = Annotated[ReplayTask | ValidateTask | StatsTask | ShadowTask, Field(discriminator="kind")]


class Asked(Wire):
    """One request line."""

    task: Task


class Fault(Wire):
    """Why there is no answer."""

    code: str
    message: str
    param: str | None = None


class Told(Wire):
    """One answer line: exactly one of its fields is set."""

    replay: Replay | None = None
    validation: Validation | None = None
    stats: RouterStats | None = None
    shadow: ShadowReport | None = None
    fault: Fault | None = None
