"""Wake-up hints to the Celery workers, without Celery: protocol-2 messages, one LPUSH.

A hint names no job: it says "there is work", and the claim chooses the job. ``apply_async`` costs a millisecond of CPU inside the event loop and
most of a second when Redis is away; this takes one round trip for any number of hints and at most ``TANDEM_REDIS_TIMEOUT_S``. The job's row is the
truth: a lost hint is sent again by the reaper. A contract test runs the message on a real worker.
"""

import asyncio
import base64
import json
import time
import uuid
from collections.abc import Callable
from typing import Final

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from tandem.schemas.jobs import AUTOPILOT_QUEUE, RUN_JOB_TASK
from tandem.settings import Settings
from tandem.telemetry.logging import get_logger
from tandem.telemetry.metrics import Metrics

PROBE_AFTER_S: Final = 1.0
"""Seconds without Redis after a failure; then one hint is let through as the probe."""
MAX_HINTS: Final = 100
"""Messages of one call; the reaper hints again for what still waits."""
_MAX_CONNECTIONS: Final = 32
_log = get_logger(__name__)


class CeleryHintQueue:
    """Adapter of ``ports.JobQueue``. A failure opens the circuit: later hints return false at once until a probe succeeds."""

    def __init__(self, settings: Settings, *, metrics: Metrics | None = None, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._timeout_s = settings.redis.timeout_s
        # With the priority strategy Celery reads one list per priority; the plain name is priority 0, served first.
        self._key = f"{settings.redis.prefix}{AUTOPILOT_QUEUE}"
        pool = BlockingConnectionPool.from_url(
            settings.redis_url,
            max_connections=_MAX_CONNECTIONS,
            timeout=self._timeout_s,
            socket_timeout=self._timeout_s,
            socket_connect_timeout=self._timeout_s,
            # redis-py's default retries make a refused connection take seconds.
            retry=Retry(NoBackoff(), 0),
        )
        self._redis = Redis(connection_pool=pool)
        self._pool = pool
        self._metrics = metrics
        self._monotonic = monotonic
        self._open_until: float | None = None

    async def hint(self, count: int = 1) -> bool:
        if count < 1:
            return True
        if not self._may_try():
            return self._count("skipped")
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._redis.lpush(self._key, *[celery_message(str(uuid.uuid4())) for _ in range(min(count, MAX_HINTS))])
        except (RedisError, OSError, TimeoutError) as error:
            if self._open_until is None:
                _log.warning("hint_failed", count=count, error=type(error).__name__, probe_after_s=PROBE_AFTER_S)
            self._open_until = self._monotonic() + PROBE_AFTER_S
            return self._count("failed")
        if self._open_until is not None:
            _log.info("hint_recovered")
            self._open_until = None
        return self._count("sent")

    async def close(self) -> None:
        await self._redis.aclose()
        await self._pool.disconnect()

    def _may_try(self) -> bool:
        """Whether Redis may be asked; while the circuit is open, one caller per pause may, as the probe."""
        if self._open_until is None:
            return True
        if self._monotonic() < self._open_until:
            return False
        self._open_until = self._monotonic() + PROBE_AFTER_S
        return True

    def _count(self, outcome: str) -> bool:
        if self._metrics:
            self._metrics.hints.labels(outcome).inc()
        return outcome == "sent"


def celery_message(hint_id: str) -> str:
    """What ``apply_async(RUN_JOB_TASK)`` would push (Celery protocol 2 in kombu's virtual transport)."""
    embed = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
    body = json.dumps([[], {}, embed]).encode()
    headers: dict[str, object] = {
        "lang": "py",
        "task": RUN_JOB_TASK,
        "id": hint_id,
        "root_id": hint_id,
        "parent_id": None,
        "group": None,
        "group_index": None,
        "shadow": None,
        "eta": None,
        "expires": None,
        "retries": 0,
        "timelimit": [None, None],
        "argsrepr": "()",
        "kwargsrepr": "{}",
        "origin": "gateway",
        "ignore_result": True,
        "replaced_task_nesting": 0,
        "stamped_headers": None,
        "stamps": {},
    }
    properties: dict[str, object] = {
        "correlation_id": hint_id,
        "reply_to": "",
        "delivery_mode": 2,
        "delivery_info": {"exchange": "", "routing_key": AUTOPILOT_QUEUE},
        "priority": 0,
        "body_encoding": "base64",
        "delivery_tag": hint_id,
    }
    message: dict[str, object] = {
        "body": base64.b64encode(body).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": headers,
        "properties": properties,
    }
    return json.dumps(message)


__all__ = ["MAX_HINTS", "PROBE_AFTER_S", "CeleryHintQueue", "celery_message"]
