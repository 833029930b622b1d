"""Tells the gateways which tools this worker offers: at its start, and then again and again for as long as its process lives, busy or idle.

The process's own loop only runs while a job does, so the reports have a thread and a loop of their own; the database is opened for each report and
closed after it, so that an idle worker holds no second connection. A worker that dies is forgotten when its words are no longer fresh
(``gateway.grants.FRESH_S``), and a database that is away is told in the log and tried again.
"""

import asyncio
import threading
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

from tandem.errors import TandemError
from tandem.ports import Clock, Storage
from tandem.schemas.tools import ToolReport
from tandem.telemetry import get_logger
from tools.offers import Offer

EVERY_S: Final = 30.0
_STOP_WITHIN_S: Final = 5.0
"""A report under way when the process stops gets this long; the thread never keeps a process alive."""


def reports_of(offers: Sequence[Offer], worker: str, now: datetime) -> list[ToolReport]:
    """What a worker says of its tools; of two offers with one name the later stands, as in its toolbox."""
    return list(
        {
            offer.spec.name: ToolReport(
                spec=offer.spec, state="unavailable" if offer.tool is None else "offered", reason=offer.reason, worker=worker, seen_at=now
            )
            for offer in offers
        }.values()
    )


class ToolReporter:
    """Reports what ``offers`` gives at that moment.

    Args:
        open_storage: Opens the database anew, in the reporting thread.
        offers: Called for each report.
        worker: Host of the worker; its processes speak for the same one.
        clock: For the stamp that the board replaces by its own.
        every_s: Seconds between two reports.
    """

    def __init__(
        self,
        open_storage: Callable[[], Storage],
        offers: Callable[[], Sequence[Offer]],
        worker: str,
        clock: Clock,
        every_s: float = EVERY_S,
    ) -> None:
        self._open_storage = open_storage
        self._offers = offers
        self._worker = worker
        self._clock = clock
        self._every_s = every_s
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tool-reports", daemon=True)

    def start(self) -> None:
        """After the process's fork, which takes no threads along."""
        self._thread.start()

    def stop(self) -> None:
        """No more reports; what was said last goes stale by itself."""
        self._stopped.set()
        self._thread.join(_STOP_WITHIN_S)

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                asyncio.run(self._report())
            except TandemError as error:
                get_logger(__name__).warning("tools_not_reported", code=error.code, reason=error.message, next_try_s=self._every_s)
            except Exception:  # noqa: BLE001 - the thread's boundary: a defect is told with its traceback, and the next report is tried all the same
                get_logger(__name__).exception("tools_not_reported")
            self._stopped.wait(self._every_s)

    async def _report(self) -> None:
        storage = self._open_storage()
        try:
            await storage.tools.report(self._worker, reports_of(self._offers(), self._worker, self._clock.now()))
        finally:
            await storage.close()
