"""What operators do with policies: draft, validate, publish in stages, roll back, shadow, throw the kill switch. Knows nothing of HTTP.

Each change is one compare-and-set on the revision. Who names the revision he has seen is refused when it has moved on; who does not is tried again.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Final, Literal

from gateway.evidence import Evidence
from gateway.policies import PolicyFollower
from router.diff import diff
from router.policy import SETTINGS_VERSION, Policy
from router.rollout import advance, begin, previous_active, roll_back, set_kill, set_shadow
from tandem.errors import Conflict, PolicyRefused
from tandem.ids import IdFactory, KeyId
from tandem.ports import NewState, Once, PolicyStore
from tandem.schemas.policies import (
    FieldProblem,
    PolicyComparison,
    PolicyDraft,
    PolicyVersion,
    Publish,
    RollBack,
    RoutingChange,
    RoutingPolicy,
    RoutingState,
    Validation,
)
from tandem.schemas.routing import ScoringBackend

TRIES: Final = 4
"""For changes that name no revision, when others change the routing at the same time."""
HISTORY_PAGE: Final = 500
_EPOCH: Final = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


class Publishing:
    """The desk behind the policies' doors.

    Args:
        fallback: The policy of the settings.
        backends: What this gateway can ask.
    """

    def __init__(
        self,
        store: PolicyStore,
        evidence: Evidence,
        follower: PolicyFollower,
        ids: IdFactory,
        fallback: Policy,
        backends: frozenset[ScoringBackend],
    ) -> None:
        self._store = store
        self._evidence = evidence
        self._follower = follower
        self._ids = ids
        self._fallback = fallback
        self._backends = backends

    async def draft(self, draft: PolicyDraft, author: KeyId, once: Once | None) -> tuple[PolicyVersion, bool]:
        """The stored draft, and whether an earlier call with the same key had made it."""
        version = self._ids.policy_version()
        made = await self._store.add(version, draft.policy, author=author, note=draft.note, once=once)
        return made, made.version != version

    async def read(self, version: str) -> PolicyVersion:
        """Any version; ``settings`` is what decides before anything is published. Raises ``NotFound``."""
        if version != SETTINGS_VERSION:
            return await self._store.get(version)
        state = await self._store.state()
        return PolicyVersion(
            version=SETTINGS_VERSION,
            number=0,
            status="active" if state.active is None else "retired",
            policy=self._fallback.document,
            parent=None,
            author="tandem",
            note="the policy of the settings",
            created_at=_EPOCH,
        )

    async def validate(self, version: str) -> Validation:
        """What logged traffic and this gateway say against it."""
        policy = (await self.read(version)).policy
        found = await self._evidence.validate(policy)
        return found.model_copy(update={"problems": [*self._missing_backend(policy), *found.problems]})

    async def compare(self, version: str, against: str | None) -> PolicyComparison:
        """What a version changes; held against its parent when nothing else is said."""
        after = await self.read(version)
        before = await self.read(against or after.parent or SETTINGS_VERSION)
        return PolicyComparison(data=diff(before.policy, after.policy), against=before.version)

    async def publish(self, version: str, publish: Publish, actor: KeyId) -> RoutingState:
        """Raises ``PolicyRefused`` with the findings, unless forced; ``Conflict`` where ``begin`` does."""
        if version == SETTINGS_VERSION:
            raise Conflict("the policy of the settings is no stored version; go back to it with POST /v1/router/rollback and 'to': 'settings'")
        if not publish.is_forced:
            validation = await self.validate(version)
            if errors := [problem for problem in validation.problems if problem.level == "error"]:
                raise _refusal(version, errors, validation.judged_on)
        known: str = (await self._store.get(version)).version
        return await self._change(lambda state: begin(state, known, publish, actor), publish.expected_revision)

    async def advance(self, expected_revision: int | None, actor: KeyId) -> RoutingState:
        """The candidate's next stage, now."""
        return await self._change(lambda state: advance(state, actor), expected_revision)

    async def roll_back(self, wish: RollBack, actor: KeyId) -> RoutingState:
        """To a version that was published, or to what was before. Raises ``Conflict`` when there is nothing to withdraw."""
        target = wish.to
        if target not in (None, SETTINGS_VERSION) and (await self._store.get(target)).published_at is None:
            raise Conflict(f"policy {target!r} was never published, so there is nothing to go back to; publish it instead", param="to")
        state = await self._store.state()
        if state.candidate is None or target == SETTINGS_VERSION:
            before = None if target == SETTINGS_VERSION else target or previous_active(await self._whole_history())
            return await self._withdraw(before, wish, actor)
        return await self._change(lambda state: roll_back(state, target, actor, wish.note), wish.expected_revision)

    async def shadow(self, version: str | None, actor: KeyId) -> RoutingState:
        """Let a version decide without acting, or none."""
        if version == SETTINGS_VERSION:
            raise Conflict("the policy of the settings is no stored version; draft it to shadow it", param="version")
        if version is not None:
            await self._store.get(version)
        return await self._change(lambda state: None if state.shadow == version else set_shadow(state, version, actor), None)

    async def kill(self, mode: Literal["all_fast", "rules"] | None, note: str, actor: KeyId) -> RoutingState:
        """Throw the kill switch, or release it."""
        return await self._change(lambda state: None if mode is None and state.kill is None else set_kill(state, mode, actor, note), None)

    async def _withdraw(self, target: str | None, wish: RollBack, actor: KeyId) -> RoutingState:
        """Make ``target`` active (None: the settings), whatever is under way."""
        state = await self._store.state()
        expected = wish.expected_revision
        if state.candidate is not None:
            state = await self._change(lambda state: roll_back(state, None, actor, wish.note), expected)
            if state.active == target:
                return state
            expected = None if expected is None else state.revision
        return await self._change(lambda state: roll_back(state, target, actor, wish.note), expected)

    async def _change(self, step: Callable[[RoutingState], NewState | None], expected: int | None) -> RoutingState:
        """Take one step from the present state, or none; this gateway follows at once, the others within ``router.poll_s``."""
        for tries_left in reversed(range(TRIES)):
            state = await self._store.state()
            if expected is not None and state.revision != expected:
                raise Conflict(
                    f"the routing is at revision {state.revision}, not {expected}: somebody has changed it; read it again", param="expected_revision"
                )
            if (new := step(state)) is None:
                return state
            try:
                changed = await self._store.change(new, expected_revision=state.revision)
            except Conflict:
                if tries_left and (await self._store.state()).revision != state.revision:
                    continue
                raise
            await self._follower.look()
            return changed
        raise Conflict("others keep changing the routing; read it again and try once more")

    async def _whole_history(self) -> list[RoutingChange]:
        history: list[RoutingChange] = []
        before: int | None = None
        while page := await self._store.history(before=before, limit=HISTORY_PAGE):
            history += page
            before = page[-1].number
            if len(page) < HISTORY_PAGE:
                break
        return history

    def _missing_backend(self, policy: RoutingPolicy) -> list[FieldProblem]:
        if policy.backend in self._backends:
            return []
        names = ", ".join(sorted(self._backends))
        message = f"this gateway cannot ask the backend {policy.backend!r} (it has: {names}) and would score with the linear model; set it up first"
        return [FieldProblem(level="error", field="backend", message=message)]


def _refusal(version: str, errors: list[FieldProblem], judged_on: int) -> PolicyRefused:
    found = "; ".join(f"{problem.field}: {problem.message}" for problem in errors[:5])
    return PolicyRefused(
        f"policy {version!r} has {len(errors)} errors against {judged_on} logged requests: {found}. "
        "Draft a mended version, or publish with 'is_forced'",
        param=f"policy.{errors[0].field}",
    )
