"""The bar of a model download; plain lines where no terminal reads."""

import sys
from collections.abc import Generator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from tandem.models import FetchStep, LineProgress
from tandem.models import Progress as FetchProgress


@contextmanager
def download_bar() -> Generator[FetchProgress]:
    """A reporter for model fetches: a bar on a terminal, else a line now and then."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield LineProgress(sys.stderr)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as bar:
        yield _Bars(bar)


class _Bars:
    """One bar per activity of each model."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._activity = ""
        self._task: TaskID | None = None

    def __call__(self, step: FetchStep, /) -> None:
        activity = f"{step.model}: {step.activity.split(' ', 1)[0]}"
        if self._task is None or activity != self._activity:
            self._activity, self._task = activity, self._bar.add_task(activity, total=step.total_bytes)
        self._bar.update(self._task, completed=step.done_bytes)
