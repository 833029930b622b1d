"""The policies that this gateway follows: one look at the database twice a second, one snapshot swapped as a whole.

Every request is decided by one snapshot: its state, its compiled policies and all that is derived from them are of the same revision. Only the kill
switch waits for no policy. A database that is away changes nothing: the last snapshot stays.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, Literal

from pydantic import ValidationError

from router.policy import Policy
from router.rollout import arm_of
from tandem.errors import TandemError
from tandem.ports import PolicyStore
from tandem.schemas.policies import RoutingState
from tandem.schemas.routing import Arm
from tandem.telemetry import Metrics, get_logger

NOTHING_PUBLISHED: Final = RoutingState(revision=0)
_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One revision of the routing, ready to decide."""

    state: RoutingState
    stable: Policy
    candidate: Policy | None = None
    shadow: Policy | None = None

    @property
    def kill(self) -> Literal["all_fast", "rules"] | None:
        return self.state.kill

    def choose(self, key: str) -> tuple[Policy, Arm]:
        """Which policy decides for this conversation. Under the kill switch nobody is an experiment."""
        if self.candidate is None or self.kill is not None or arm_of(self.state, key) == "stable":
            return self.stable, "stable"
        return self.candidate, "candidate"

    @property
    def policies(self) -> tuple[Policy, ...]:
        return tuple(each for each in (self.stable, self.candidate, self.shadow) if each is not None)

    @property
    def prices_waiting(self) -> bool:
        return any(each.document.wait_cost_per_min > 0 for each in self.policies)


class PolicyFollower:
    """Keeps the snapshot up to date.

    Args:
        store: Where the policies are published.
        fallback: The policy of the settings, while nothing is published.
        on_swap: Told of each new snapshot, in the loop.
    """

    def __init__(self, store: PolicyStore, fallback: Policy, metrics: Metrics, on_swap: Callable[[Snapshot], None]) -> None:
        self._store = store
        self._fallback = fallback
        self._metrics = metrics
        self._on_swap = on_swap
        self._complaint: str | None = None
        self._one_look = asyncio.Lock()
        self.snapshot = Snapshot(NOTHING_PUBLISHED, fallback)

    async def look(self) -> None:
        """Follow what is published; what goes wrong is told once and leaves the snapshot as it is."""
        try:
            await self.refresh()
        except (TandemError, ValidationError) as error:
            self._complain(error)
        else:
            if self._complaint is not None:
                _log.info("policies_reached", revision=self.snapshot.state.revision)
            self._complaint = None

    async def refresh(self) -> Snapshot:
        """The newest snapshot. Raises as the store, and ``ValidationError`` for a policy that this version cannot read."""
        async with self._one_look:  # a look that began earlier never ends later, and puts back what was
            state = await self._store.state()
            if state.kill != self.snapshot.kill:
                self._obey(state.kill)
            if state.revision != self.snapshot.state.revision:
                self._swap(await self._compiled(state))
        return self.snapshot

    async def policy(self, version: str) -> Policy:
        """Any version, for a dry run. Raises ``NotFound``."""
        known = {each.version: each for each in (*self.snapshot.policies, self._fallback)}
        if version in known:
            return known[version]
        return Policy.of(version, (await self._store.get(version)).policy)

    async def _compiled(self, state: RoutingState) -> Snapshot:
        return Snapshot(
            state,
            stable=self._fallback if state.active is None else await self.policy(state.active),
            candidate=None if state.candidate is None else await self.policy(state.candidate.version),
            shadow=None if state.shadow is None else await self.policy(state.shadow),
        )

    def _obey(self, kill: Literal["all_fast", "rules"] | None) -> None:
        """The kill switch stands above every policy: it holds at once, also where a policy published with it cannot be read."""
        self.snapshot = replace(self.snapshot, state=self.snapshot.state.model_copy(update={"kill": kill}))
        _log.warning("kill_switch", mode=kill)

    def _swap(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self._metrics.policy_revision.set(snapshot.state.revision)
        self._on_swap(snapshot)
        candidate = snapshot.state.candidate
        _log.info(
            "policy_swapped",
            revision=snapshot.state.revision,
            active=snapshot.stable.version,
            candidate=candidate.version if candidate else None,
            percent=candidate.percent if candidate else None,
            shadow=snapshot.state.shadow,
            kill=snapshot.kill,
        )

    def _complain(self, error: Exception) -> None:
        kind = error.code if isinstance(error, TandemError) else type(error).__name__
        if kind != self._complaint:
            detail = error.message if isinstance(error, TandemError) else str(error)
            _log.warning("policies_not_followed", code=kind, detail=detail, revision=self.snapshot.state.revision)
        self._complaint = kind
