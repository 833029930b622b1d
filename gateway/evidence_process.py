"""``python -m gateway.evidence_process``: judges policies by what was logged, for the one gateway that writes to its standard input.

A line of JSON each way (``evidence_tasks.py``); the first line says where the log is. Ends when its input ends, after ``IDLE_S`` without a question,
and after a large answer, whose memory it would keep. Runs at low priority: people are answered first.
"""

import asyncio
import gc
import os
import signal
import sys
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, assert_never

from gateway.collected import Collected, read_collected
from gateway.evidence_tasks import Asked, Fault, Opening, ReplayTask, ShadowTask, StatsTask, Task, Told, ValidateTask
from router.artifacts import load_classifier
from router.drift import drift
from router.estimates import share_of
from router.policy import Policy
from router.quality import LEAST_ROWS, Outcomes, scores_of
from router.replay import apply_dials, replay
from router.validation import validate
from tandem.errors import InternalError, TandemError
from tandem.ports import Classifier, LoggedDecision, Storage
from tandem.schemas.policies import Replay, RouterStats, RoutingPolicy, ShadowReport, Validation
from tandem.schemas.routing import CALLER_SOURCES
from tandem.settings import Settings
from tandem.storage import open_storage
from tandem.telemetry import configure_logging, get_logger

IDLE_S: Final = 300.0
NICENESS: Final = 10
KEEP_S: Final = 20.0
"""Rows read are used again this long: a dial is turned several times a second."""
KEPT_ROWS: Final = 20_000
"""More are not kept, and end the process once they are answered."""
VALIDATED_ROWS: Final = 5_000
VALIDATED_S: Final = 30 * 86_400.0
WATCHED_ROWS: Final = 20_000
"""Newest requests that the statistics of traffic look at."""
JOBS_S: Final = 7 * 86_400.0
NEWEST_S: Final = 86_400.0
"""Drift holds the newest day against the time before."""
HISTOGRAM: Final = 20
_MAX_LINE: Final = 16_777_216
_log = get_logger(__name__)


class Examiner:
    """Answers one question after the other.

    Args:
        classifier: Scores the collected prompts, which nobody routed.
    """

    def __init__(self, storage: Storage, classifier: Classifier) -> None:
        self._storage = storage
        self._classifier = classifier
        self._kept: tuple[float, float, int, list[LoggedDecision]] | None = None
        self.is_full = False
        """It has held more than it should keep."""

    async def answer(self, task: Task) -> Told:
        """The answer; what the caller or the operator must mend comes back as a fault."""
        try:
            match task:
                case ReplayTask():
                    return Told(replay=await self._replay(task))
                case ValidateTask():
                    return Told(validation=await self._validate(task.policy))
                case StatsTask():
                    return Told(stats=await self._stats(task))
                case ShadowTask():
                    return Told(shadow=await self._shadow(task))
                case _:
                    assert_never(task)
        except TandemError as error:
            return Told(fault=Fault(code=error.code, message=error.message, param=error.param))
        except Exception:  # noqa: BLE001 - the process boundary: told with its traceback, and to the caller as ours
            _log.exception("evidence_failed", kind=task.kind)
            return Told(fault=Fault(code=InternalError.code, message="the evidence could not be computed"))

    async def _replay(self, task: ReplayTask) -> Replay:
        request = task.request
        logged = await self._logged(request.since_s, request.limit)
        outcomes = await self._storage.outcomes.of_decisions([each.id for each in logged])
        times = await self._storage.decisions.job_times(min(request.since_s, JOBS_S))
        collected = await self._collected(task.policy, outcomes)
        base = (collected.logged, collected.outcomes) if collected and request.target_quality is not None else (logged, outcomes)
        document = apply_dials(base[0], task.policy, request.target_slow_share, request.target_quality, base[1], times)
        policy = Policy.of(task.version, document)
        found = replay(logged, policy, job_times=times, outcomes=outcomes)
        if found.quality.value is not None or not collected:
            return found
        beside = replay(collected.logged, policy, outcomes=collected.outcomes)
        basis = f"of {len(collected.logged)} collected prompts, not of this traffic: {beside.quality_basis}"
        return found.model_copy(update={"quality": beside.quality, "quality_basis": basis})

    async def _collected(self, policy: RoutingPolicy, outcomes: Outcomes) -> Collected | None:
        """Prompts that both lanes answered outside of traffic, where the traffic itself holds too few."""
        if sum(scores_of(found) is not None for found in outcomes.values()) >= LEAST_ROWS:
            return None
        found = await read_collected(self._storage.outcomes, self._classifier, policy)
        return found if found.logged else None

    async def _validate(self, policy: RoutingPolicy) -> Validation:
        return validate(policy, await self._logged(VALIDATED_S, VALIDATED_ROWS))

    async def _stats(self, task: StatsTask) -> RouterStats:
        now = await self._storage.policies.now()
        logged = await self._logged(max(task.since_s, 8 * NEWEST_S), WATCHED_ROWS)
        recent = [each for each in logged if _is_since(each, now - timedelta(seconds=task.since_s))]
        day = now - timedelta(seconds=NEWEST_S)
        newest, before = [each for each in logged if _is_since(each, day)], [each for each in logged if not _is_since(each, day)]
        outcomes = await self._storage.outcomes.of_decisions([each.id for each in logged])
        counts = await self._storage.jobs.counts()
        return RouterStats(
            since=now - timedelta(seconds=task.since_s),
            versions=list(await self._storage.decisions.stats(task.since_s)),
            by_language=_counted([each.decision.language for each in recent]),
            by_intent=_counted([each.decision.intent or "unknown" for each in recent]),
            overrides=_counted([each.decision.override for each in recent if each.decision.override is not None]),
            p_slow_histogram=_histogram(recent),
            drift=drift(newest, before, outcomes=outcomes, slow_share_cap=task.policy.slow_share_cap),
            oldest_queued_s=counts.oldest_queued_s,
        )

    async def _shadow(self, task: ShadowTask) -> ShadowReport:
        """Over the requests that the caller left open: the shadow changes no others."""
        logged = await self._logged(task.since_s, WATCHED_ROWS)
        pairs = [
            (each.decision.lane, shadow.lane)
            for each in logged
            if (shadow := each.decision.shadow) is not None and shadow.policy_version == task.version and each.decision.override not in CALLER_SOURCES
        ]
        total = len(pairs)
        return ShadowReport(
            version=task.version,
            decisions=total,
            agreement=share_of(sum(was == would for was, would in pairs), total),
            slow_share_before=share_of(sum(was == "slow" for was, _ in pairs), total),
            slow_share=share_of(sum(would == "slow" for _, would in pairs), total),
            to_slow=sum((was, would) == ("fast", "slow") for was, would in pairs),
            to_fast=sum((was, would) == ("slow", "fast") for was, would in pairs),
        )

    async def _logged(self, since_s: float, limit: int) -> list[LoggedDecision]:
        """Newest first; not older than ``KEEP_S``."""
        if self._kept is not None and self._kept[1:3] == (since_s, limit) and time.monotonic() - self._kept[0] < KEEP_S:
            return self._kept[3]
        found = list(await self._storage.decisions.since(since_s, limit))
        self.is_full = self.is_full or len(found) > KEPT_ROWS
        self._kept = (time.monotonic(), since_s, limit, found) if len(found) <= KEPT_ROWS else None
        return found


def _is_since(logged: LoggedDecision, moment: datetime) -> bool:
    return logged.created_at is not None and logged.created_at >= moment


def _counted(names: Sequence[str]) -> dict[str, int]:
    """The most frequent first."""
    counts = {name: names.count(name) for name in set(names)}
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _histogram(logged: Sequence[LoggedDecision]) -> list[int]:
    bars = [0] * HISTOGRAM
    for each in logged:
        bars[min(int(each.decision.p_slow * HISTOGRAM), HISTOGRAM - 1)] += 1
    return bars


async def serve() -> None:
    """Answer until there is nothing to answer any more."""
    lines = asyncio.StreamReader(limit=_MAX_LINE)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    settings = settings_of(Opening.model_validate_json(await lines.readline()))
    configure_logging(settings.log, process="evidence")
    storage = open_storage(settings)
    examiner = Examiner(storage, load_classifier(settings.router.artifact))
    try:
        while not examiner.is_full and (line := await _next(lines)):
            told = await examiner.answer(Asked.model_validate_json(line).task)
            sys.stdout.buffer.write(told.model_dump_json().encode() + b"\n")
            sys.stdout.buffer.flush()
    except BrokenPipeError:
        pass  # the gateway has gone
    finally:
        await storage.close()


def settings_of(opening: Opening) -> Settings:
    """What this process needs of its gateway's settings."""
    database = opening.database | {"url": opening.database_url}
    fields = {
        "home": opening.home,
        "database": database,
        "retention": opening.retention,
        "log": opening.log,
        "router": {"artifact": opening.artifact},
    }
    return Settings.model_validate(fields)


async def _next(lines: asyncio.StreamReader) -> bytes:
    """The next question; nothing when none comes any more."""
    try:
        async with asyncio.timeout(IDLE_S):
            return await lines.readline()
    except TimeoutError:
        return b""


def main() -> int:
    """The process. Ctrl-C is for the gateway, which then closes our input."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(NICENESS)
    gc.set_threshold(100_000, 50, 50)  # a hundred thousand rows are no garbage
    asyncio.run(serve())
    return 0


if __name__ == "__main__":
    sys.exit(main())
