"""``tandem up``: everything on this machine, from nothing to ready, until it is told to stop. The composition root of the supervisor."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Annotated, Final, TypeVar

from typer import Exit, Option, Typer

from tandem.cli.console import complain, note, say, toned
from tandem.cli.keyring import ensure_local_key
from tandem.cli.models import fetch_models, needed_models
from tandem.cli.proof import prove
from tandem.cli.session import ids, open_database
from tandem.client import AsyncTandemClient
from tandem.errors import SettingsInvalid
from tandem.secrets import load_local_key, load_pepper, load_webhook_secret
from tandem.settings import Settings
from tandem.supervisor import (
    Change,
    GuardianLink,
    HomeLock,
    ProcessSpec,
    ProcessState,
    Supervisor,
    check_ports,
    child_environment,
    prepare_valkey,
    process_table,
    with_redis,
)
from tandem.telemetry.clock import SystemClock

T = TypeVar("T")
_MEGABYTE: Final = 1_000_000


def build() -> Typer:
    """The command."""
    app = Typer(add_completion=False)
    app.command("up")(up)
    return app


def up(
    no_proof: Annotated[bool, Option("--no-proof", help="Do not ask both lanes once after the start.")] = False,
    no_ui: Annotated[bool, Option("--no-ui", help="Do not serve the pages.")] = False,
) -> None:
    """Start everything, prove both lanes, stay up until Ctrl-C. Exits 1 when the proof failed."""
    settings = Settings.load().model_copy(update={"api_url": None})  # this command is about this machine's gateway
    _prepare_home(settings)
    lock = HomeLock.acquire(settings.home, settings.gateway_url)
    try:
        valkey = prepare_valkey(settings)
        specs = process_table(settings, valkey, with_ui=not no_ui)
        check_ports([(spec.name, spec.listen) for spec in specs if spec.listen])
        fetch_models(settings, needed_models(settings))
        is_proven = asyncio.run(_Up(with_redis(settings, valkey), specs, lock, with_proof=not no_proof).run())
    finally:
        lock.release()
    if not is_proven:
        raise Exit(1)


def _prepare_home(settings: Settings) -> None:
    try:
        for folder in (settings.home, settings.home / "logs", settings.home / "run"):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise SettingsInvalid(f"cannot write to TANDEM_HOME {str(settings.home)!r}: {error.strerror}; set it to a folder of your own") from None
    load_pepper(settings)
    load_webhook_secret(settings)


@dataclass(slots=True)
class _Up:
    """One run, once the machine is found fit."""

    settings: Settings
    specs: tuple[ProcessSpec, ...]
    lock: HomeLock
    with_proof: bool
    _supervisor: Supervisor = field(init=False)
    _stopping: asyncio.Event = field(init=False, default_factory=asyncio.Event)
    _is_ready: bool = field(init=False, default=False)

    async def run(self) -> bool:
        """Start, prove, stay up, stop. False when the proof failed.

        Raises:
            ProcessFailed: A process could not be started; everything is stopped again.
        """
        await self._make_key()
        guardian = GuardianLink(self.settings.home / "logs" / "guardian.log", inherit=(self.lock.descriptor,))
        self._supervisor = Supervisor(
            self.specs, environment=child_environment(os.environ, self.settings), home=self.settings.home,
            guard=guardian, clock=SystemClock(), report=self._tell,
        )  # fmt: skip
        await guardian.start()
        with self._signals():
            try:
                return await self._serve()
            finally:
                self._is_ready = False
                await self._supervisor.stop()
                await guardian.close()
                say("stopped")

    async def _serve(self) -> bool:
        say(f"starting {len(self.specs)} processes")
        if not await self._unless_stopped(self._supervisor.start()):
            return True
        self._is_ready = True
        is_proven = True
        if self.with_proof:
            is_proven = await self._prove()
        if not self._stopping.is_set():
            self._say_ready(is_proven)
            await self._stopping.wait()
        return is_proven

    async def _unless_stopped(self, work: Awaitable[T]) -> bool:
        """Wait for ``work`` or the word to stop, whichever is first; whether the work is done."""
        task, stop = asyncio.ensure_future(work), asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                await task
                return True
            return False
        finally:
            for waiting in (task, stop):
                waiting.cancel()
            await asyncio.gather(task, stop, return_exceptions=True)

    async def _make_key(self) -> None:
        async with open_database(self.settings) as storage:
            token = await ensure_local_key(storage.keys, self.settings, ids())
        if token:
            say(f"your API key, shown this once (kept in {self.settings.home / 'secrets' / 'local_key'}): {token}")

    async def _prove(self) -> bool:
        say("proof: asking both lanes once")
        client = AsyncTandemClient(self.settings.gateway_url, load_local_key(self.settings))
        proofs: list[bool] = []

        async def work() -> None:
            proof = await prove(client, say)
            for failure in proof.failures:
                say(toned(f"  FAILED  {failure}", "bad"))
            proofs.append(proof.is_passed)

        try:
            await self._unless_stopped(work())
        finally:
            await client.close()
        return all(proofs)

    def _say_ready(self, is_proven: bool) -> None:
        settings = self.settings
        say()
        if is_proven:
            say(toned("Tandem is ready." if self.with_proof else "Tandem is ready (not proven).", "good"))
        else:
            say(toned("Tandem is up, but the proof FAILED (see above). It is left running so that you can look.", "bad"))
        if any(spec.name == "ui" for spec in self.specs):
            say(f"  pages    http://{settings.ui.host}:{settings.ui.port}")
        say(f"  gateway  {settings.gateway_url}/v1  (OpenAI-compatible; key: {settings.home / 'secrets' / 'local_key'})")
        say('  try      tandem chat "hello"')
        say(f"  logs     {settings.home / 'logs'}")
        say("  Ctrl-C stops everything.")

    def _tell(self, change: Change) -> None:
        title = next(spec for spec in self.specs if spec.name == change.name)
        match change.state:
            case ProcessState.READY:
                memory = f"{change.rss_bytes / _MEGABYTE:5.0f} MB" if change.rss_bytes else ""
                say(f"  {change.name:<10} {title.title:<16} {title.address:<20} ready in {change.seconds:5.1f} s  {memory}".rstrip())
            case ProcessState.PAUSED:
                note(toned(f"  {change.name} {change.detail}; starting it again in {change.seconds:g} s (log: {self._log(change)})", "warn"))
            case ProcessState.FAILED if self._is_ready:
                complain(f"{change.detail}\n  Tandem is degraded: the others go on. Log: {self._log(change)}")
            case _:
                pass

    def _log(self, change: Change) -> str:
        return str(self._supervisor.log_path(change.name))

    @contextmanager
    def _signals(self) -> Generator[None]:
        """The first signal asks for an orderly stop, the second ends everything at once."""
        loop = asyncio.get_running_loop()
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        for number in numbers:
            loop.add_signal_handler(number, self._stop)
        try:
            yield
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)

    def _stop(self) -> None:
        if self._stopping.is_set():
            self._supervisor.kill()
        else:
            self._stopping.set()
            note("stopping (once more ends everything at once)")
