"""The gateway's routing: which snapshot decides, who is asked, what is remembered and what is learnt. Stores and backends are scripted."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import cast

import pytest

from gateway.conversations import REMEMBERED, Conversations, LastAnswer, fits, place_of
from gateway.load import projected_wait_s
from gateway.records import Recorder
from gateway.routing import Routing
from router.policy import default_policy
from tandem.errors import ModelUnavailable, NotFound, StorageUnavailable
from tandem.ids import DecisionId, IdFactory, KeyId, TenantId
from tandem.ports import JobTimes, LoggedDecision, NewOutcome, Score, Storage, Turns
from tandem.schemas.policies import Bands, Guardrails, PolicyVersion, Rollout, RoutingPolicy, RoutingState
from tandem.schemas.routing import ScoringBackend
from tandem.settings import RouterSettings
from tandem.telemetry.metrics import new_metrics

ACME = TenantId("acme")
KEY = KeyId("key_1")
FAST = RoutingPolicy(bands=Bands(check_at=1.0, slow_at=1.0), slow_share_cap=None)
SLOW = RoutingPolicy(bands=Bands(check_at=0.0, slow_at=0.0), slow_share_cap=None)


class Constant:
    """A classifier that scores everything alike."""

    version = "test"

    def __init__(self, p_slow: float) -> None:
        self.p_slow = p_slow
        self.asked = 0

    def score(self, turns: Turns) -> Score:
        self.asked += 1
        return Score(self.p_slow, ())


class Backend:
    """A backend that asks a model; answers, fails, or hangs."""

    version = "asked-1"

    def __init__(self, answer: float | Exception | None) -> None:
        self.answer = answer
        self.asked = 0

    async def score(self, turns: Turns) -> Score:
        self.asked += 1
        if self.answer is None:
            await asyncio.Event().wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return Score(cast("float", self.answer), ())

    async def close(self) -> None:
        return None


@dataclass
class Store:
    """All that the routing reads of the storage."""

    routing: RoutingState | Exception = field(default_factory=lambda: RoutingState(revision=0))
    documents: dict[str, RoutingPolicy] = field(default_factory=dict[str, RoutingPolicy])
    decided: list[LoggedDecision] = field(default_factory=list[LoggedDecision])
    learnt: list[NewOutcome] = field(default_factory=list[NewOutcome])
    looks: int = 0

    @property
    def policies(self) -> "Store":
        return self

    @property
    def decisions(self) -> "Store":
        return self

    @property
    def outcomes(self) -> "Outcomes":
        return Outcomes(self)

    async def state(self) -> RoutingState:
        self.looks += 1
        if isinstance(self.routing, Exception):
            raise self.routing
        return self.routing

    async def get(self, version: str) -> PolicyVersion:
        if version not in self.documents:
            raise NotFound(f"no policy {version!r}")
        now = datetime.now(UTC)
        return PolicyVersion(
            version=version, number=1, status="draft", policy=self.documents[version], parent=None, author="t", note="", created_at=now
        )

    async def add(self, decisions: Sequence[LoggedDecision]) -> None:
        self.decided += decisions


@dataclass
class Outcomes:
    store: Store

    async def add(self, outcomes: Sequence[NewOutcome]) -> None:
        self.store.learnt += outcomes


@dataclass
class Desk:
    """A routing with its surroundings."""

    classifier: Constant = field(default_factory=lambda: Constant(0.4))
    store: Store = field(default_factory=Store)
    settings: RouterSettings = field(default_factory=RouterSettings)
    scorers: dict[ScoringBackend, Backend] = field(default_factory=dict[ScoringBackend, Backend])
    draws: list[float] = field(default_factory=list[float])

    def __post_init__(self) -> None:
        self.metrics = new_metrics()
        self.recorder = Recorder(self.store, self.store.outcomes, self.metrics, is_detailed=False)  # type: ignore[arg-type]
        self.routing = Routing(
            self.classifier,
            default_policy(self.settings),
            cast("Storage", self.store),
            IdFactory(now_ms=lambda: 0),
            self.recorder,
            self.metrics,
            self.settings,
            scorers=self.scorers,
            draw=lambda: self.draws.pop(0),
        )

    async def publish(self, **documents: RoutingPolicy) -> None:
        """The first is active, the second a candidate for a quarter, the third the shadow."""
        self.store.documents |= documents
        names = [*documents, None, None]
        candidate = names[1] and Rollout(version=names[1], percent=25, since=datetime.now(UTC), guardrails=Guardrails())
        self.store.routing = RoutingState(revision=self.store.looks + 1, active=names[0], candidate=candidate or None, shadow=names[2])
        await self.routing.policies.look()

    def value(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, labels) or 0


async def test_the_settings_decide_until_something_is_published() -> None:
    desk = Desk(Constant(0.6))
    _, before = await desk.routing.decide(Turns("hi"), ACME, "chat")
    await desk.publish(a=FAST)
    _, after = await desk.routing.decide(Turns("hi"), ACME, "chat")
    assert [(each.policy_version, each.lane) for each in (before, after)] == [("settings", "slow"), ("a", "fast")]
    assert desk.value("tandem_router_policy_revision") == 1


async def test_a_database_that_is_away_leaves_the_last_policy_and_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    desk = Desk()
    await desk.publish(a=SLOW)
    good = desk.store.routing
    desk.store.routing = StorageUnavailable("away")
    for _ in range(3):
        await desk.routing.policies.look()
    assert (await desk.routing.try_out(Turns("hi"), ACME)).policy_version == "a"
    desk.store.routing = good
    await desk.routing.policies.look()
    said = capsys.readouterr().out
    assert (said.count("policies_not_followed"), said.count("policies_reached")) == (1, 1)


async def test_a_policy_that_cannot_be_read_leaves_the_policies_as_they_were() -> None:
    desk = Desk()
    await desk.publish(a=SLOW)
    desk.store.routing = RoutingState(revision=9, active="a", candidate=None, shadow="missing")
    await desk.routing.policies.look()
    snapshot = desk.routing.policies.snapshot
    assert (snapshot.state.revision, snapshot.stable.version, snapshot.shadow) == (1, "a", None)


async def test_the_kill_switch_holds_also_beside_a_policy_that_cannot_be_read() -> None:
    desk = Desk()
    await desk.publish(a=SLOW)
    for kill, lane in (("all_fast", "fast"), (None, "slow")):
        desk.store.routing = RoutingState(revision=9, active="missing", kill=kill)  # type: ignore[arg-type]
        await desk.routing.policies.look()
        _, decision = await desk.routing.decide(Turns("hi"), ACME, "chat")
        assert (decision.lane, decision.policy_version) == (lane, "a")


async def test_nothing_is_read_from_the_database_on_a_requests_way() -> None:
    desk = Desk()
    await desk.publish(a=SLOW, b=FAST, c=FAST)
    looks = desk.store.looks
    for number in range(20):
        await desk.routing.decide_stateless(Turns(f"hello {number}"), ACME, "chat", KEY)
    assert desk.store.looks == looks


async def test_a_conversation_keeps_its_arm_and_about_a_quarter_are_the_candidates() -> None:
    desk = Desk()
    await desk.publish(a=FAST, b=SLOW)
    arms: list[str] = []
    for number in range(400):
        first = (await desk.routing.decide_stateless(Turns(f"hello {number}"), ACME, "chat", KEY))[1]
        second = (await desk.routing.decide_stateless(Turns("and then?", [f"hello {number}"]), ACME, "chat", KEY))[1]
        assert first.arm == second.arm
        assert (first.policy_version == "b") == (first.arm == "candidate")
        arms.append(first.arm)
    assert 60 <= arms.count("candidate") <= 140


async def test_under_the_kill_switch_nobody_is_an_experiment() -> None:
    desk = Desk()
    await desk.publish(a=SLOW, b=SLOW)
    desk.store.routing = cast("RoutingState", desk.store.routing).model_copy(update={"revision": 99, "kill": "all_fast"})
    await desk.routing.policies.look()
    for number in range(40):
        _, decision = await desk.routing.decide(Turns("hi"), ACME, "chat", key=f"talk {number}")
        assert (decision.lane, decision.override, decision.arm) == ("fast", "kill_switch", "stable")


async def test_the_shadow_is_noted_and_does_not_act() -> None:
    desk = Desk()
    await desk.publish(a=FAST, b=FAST, c=SLOW)
    _, decision = await desk.routing.decide(Turns("hi"), ACME, "chat")
    assert decision.lane == "fast"
    assert decision.shadow is not None
    assert (decision.shadow.policy_version, decision.shadow.lane) == ("c", "slow")
    assert desk.classifier.asked == 1, "the shadow decides by the same score"


async def test_a_lane_is_drawn_only_where_the_policy_explores() -> None:
    desk = Desk(Constant(0.5), draws=[0.0])
    calm = RoutingPolicy(bands=Bands(check_at=0.6, slow_at=0.6))
    await desk.publish(a=calm)
    assert (await desk.routing.decide(Turns("hi"), ACME, "chat"))[1].propensity is None
    desk.store.routing = RoutingState(revision=50, active="e")
    desk.store.documents["e"] = calm.model_copy(update={"explore": 0.02})
    await desk.routing.policies.look()
    _, drawn = await desk.routing.decide(Turns("hi"), ACME, "chat")
    assert (drawn.lane, drawn.override, drawn.propensity, desk.draws) == ("slow", "explore", 0.01, [])
    assert (await desk.routing.try_out(Turns("hi"), ACME)).override is None, "a dry run draws nothing"


ASKING = RoutingPolicy(backend="readout", bands=Bands(check_at=0.5, slow_at=0.5))


async def test_an_unsure_request_is_put_to_the_backend() -> None:
    desk = Desk(Constant(0.4), scorers={"readout": Backend(0.9)})
    await desk.publish(a=ASKING)
    _, decision = await desk.routing.decide(Turns("hi"), ACME, "chat")
    assert (decision.lane, decision.p_slow, decision.backend, decision.model_version) == ("slow", 0.9, "readout", "asked-1")
    assert desk.value("tandem_router_scorers_total", backend="readout", outcome="answered") == 1


@pytest.mark.parametrize(("p_slow", "choice"), [(0.05, "auto"), (0.95, "auto"), (0.5, "slow")])
async def test_a_sure_or_forced_request_asks_nobody(p_slow: float, choice: str) -> None:
    desk = Desk(Constant(p_slow), scorers={"readout": Backend(0.5)})
    await desk.publish(a=ASKING)
    turns = replace(Turns("hi"), choice=choice)  # type: ignore[arg-type]
    _, decision = await desk.routing.decide(turns, ACME, "chat")
    assert (decision.backend, desk.scorers["readout"].asked) == ("linear", 0)


@pytest.mark.parametrize(("answer", "outcome"), [(None, "timeout"), (ModelUnavailable("down"), "failed")])
async def test_a_backend_that_fails_leaves_the_linear_word_and_is_let_rest(answer: Exception | None, outcome: str) -> None:
    desk = Desk(Constant(0.4), settings=RouterSettings(scorer_timeout_s=0.01), scorers={"readout": Backend(answer)})
    await desk.publish(a=ASKING)
    for _ in range(3):
        _, decision = await desk.routing.decide(Turns("hi"), ACME, "chat")
        assert (decision.p_slow, decision.backend, decision.model_version) == (0.4, "linear", "test")
    assert desk.scorers["readout"].asked == 1
    assert desk.value("tandem_router_scorers_total", backend="readout", outcome=outcome) == 1


async def test_a_message_asked_again_speaks_against_the_fast_answer_before_it() -> None:
    desk = Desk()
    await desk.publish(a=FAST)
    said = "Which rivers flow through the old town of Bamberg?"
    before, _ = await desk.routing.decide_stateless(Turns(said), ACME, "chat", KEY)
    _, again = await desk.routing.decide_stateless(Turns(said, [said]), ACME, "chat", KEY)
    await desk.routing.decide_stateless(Turns("thanks", [said, said]), ACME, "chat", KEY)
    await desk.recorder.flush()
    assert again.signs.previous_lane == "fast"
    assert [(each.decision_id, each.kind, each.source, each.status, each.wanted_lane) for each in desk.store.learnt] == [
        (before, "reask", "gateway", "pending", "slow")
    ]


async def test_a_request_that_is_sent_again_is_no_message_asked_again() -> None:
    desk = Desk()
    for _ in range(2):
        await desk.routing.decide_stateless(Turns("Which rivers flow through Bamberg?"), ACME, "chat", KEY)
    await desk.recorder.flush()
    assert desk.store.learnt == []


@pytest.mark.parametrize(("keeps", "kept"), [(False, None), (True, "write to [mail] about it")])
async def test_prompts_are_kept_only_where_the_settings_say_so_and_redacted(keeps: bool, kept: str | None) -> None:
    desk = Desk(settings=RouterSettings(log_prompts=keeps))
    await desk.routing.decide(Turns("write to ann@example.org about it"), ACME, "chat")
    await desk.recorder.flush()
    assert [each.text for each in desk.store.decided] == [kept]


async def test_a_conversation_too_long_for_the_fast_model_goes_slow() -> None:
    desk = Desk(Constant(0.0))
    _, decision = await desk.routing.decide(Turns("hi"), ACME, "chat", fits_fast=False)
    assert (decision.lane, decision.override) == ("slow", "context")


async def test_the_rules_of_the_check_band_are_those_of_the_policy_that_decided() -> None:
    desk = Desk()
    strict = FAST.model_copy(update={"check": FAST.check.model_copy(update={"min_confidence": 0.9})})
    await desk.publish(a=FAST, b=strict)
    assert [desk.routing.check_rules(version).min_confidence for version in ("a", "b", "gone")] == [
        FAST.check.min_confidence,
        0.9,
        FAST.check.min_confidence,
    ]


def test_a_conversation_is_known_by_its_human_messages_and_its_key() -> None:
    talks = Conversations()
    first = place_of(KEY, [], "hello")
    talks.note(first, LastAnswer("slow", DecisionId("dec_1")))
    follow = place_of(KEY, ["hello"], "go on")
    assert talks.last(first) is None
    assert talks.last(follow) == LastAnswer("slow", DecisionId("dec_1"))
    assert follow.key == first.key
    for other in (place_of(KeyId("key_2"), ["hello"], "go on"), place_of(KEY, ["hallo"], "go on"), place_of(KEY, ["hello", "x"], "go on")):
        assert talks.last(other) is None


def test_only_the_newest_conversations_are_remembered() -> None:
    talks = Conversations(limit=2)
    for name in ("a", "b", "a", "c"):
        talks.note(place_of(KEY, [], name), LastAnswer("fast", None))
    known = [name for name in "abc" if talks.last(place_of(KEY, [name], "go on"))]
    assert (known, REMEMBERED) == (["a", "c"], 10_000)


@pytest.mark.parametrize(
    ("texts", "is_in"), [(["hi"], True), (["word " * 2_000], True), (["word " * 3_000], False), (["字" * 3_700], True), (["字" * 3_900], False)]
)
def test_the_fast_models_context_holds_what_fits_beside_an_answer(texts: list[str], is_in: bool) -> None:
    assert fits(texts, 4_096) is is_in


def test_the_wait_of_a_new_job_is_the_work_before_it() -> None:
    times = JobTimes(jobs=30, mean_run_s=20.0, hours=1.0, workers=2)
    assert projected_wait_s(6, 100.0, times) == 60.0
    assert projected_wait_s(0, 0.0, times) == 0.0
    assert projected_wait_s(6, 100.0, JobTimes(0, 0.0, 1.0, 0)) == 100.0
