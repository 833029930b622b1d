"""A staged policy under real traffic: through the doors of two gateways over one database, watched by a real dispatcher."""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from gateway.delivery import Courier, Keyring
from gateway.dispatcher import Dispatcher, Ports
from tandem.egress import GuardedClient
from tandem.events import MemoryNotifier
from tandem.settings import DispatcherSettings
from tandem.telemetry.clock import SystemClock
from tandem.telemetry.metrics import Metrics, new_metrics

pytestmark = pytest.mark.integration
both_databases = pytest.mark.parametrize("database_url", ["sqlite", "postgres"], indirect=True)
FAST_ONLY = {"bands": {"check_at": 1.0, "slow_at": 1.0}, "slow_share_cap": None}
"""A policy that sends nothing slow by its score."""
SLOW_ONLY = {"bands": {"check_at": 0.0, "slow_at": 0.0}, "slow_share_cap": None}


async def until(fact: Callable[[], Awaitable[Any]], timeout_s: float = 60) -> Any:
    deadline = time.monotonic() + timeout_s
    while not (found := await fact()):
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.05)
    return found


@dataclass
class Town:
    """Two gateways, their administrator and a dispatcher."""

    houses: list[Any]
    admins: list[httpx.AsyncClient]
    metrics: Metrics
    """Of the dispatcher."""
    asked: int = 0

    @property
    def admin(self) -> httpx.AsyncClient:
        return self.admins[0]

    async def draft(self, policy: dict[str, Any]) -> str:
        answer = await self.admin.post("/v1/router/policies", json={"policy": policy, "note": "a test"})
        assert answer.status_code == 201, answer.text
        return answer.json()["version"]

    async def publish(self, version: str, **fields: Any) -> dict[str, Any]:
        answer = await self.admin.post(f"/v1/router/policies/{version}/publish", json={"is_forced": True} | fields)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def state(self) -> dict[str, Any]:
        return (await self.admin.get("/v1/router/state")).json()

    async def followed(self, revision: int) -> None:
        """Until every gateway follows this revision or a later one."""

        async def all_follow() -> bool:
            return all(house.services.routing.policies.snapshot.state.revision >= revision for house in self.houses)

        await until(all_follow)

    async def talk(self, count: int) -> list[tuple[str, str]]:
        """So many conversations, over both gateways: the decisions' ids and the policy versions that made them."""

        async def talk(number: int) -> str:
            body = {"model": "auto", "messages": [{"role": "user", "content": f"hello number {number}"}]}
            answer = await self.admins[number % len(self.admins)].post("/v1/chat/completions", json=body)
            assert answer.status_code == 200, answer.text
            return answer.headers["x-tandem-decision"]

        decisions = await asyncio.gather(*(talk(self.asked + number) for number in range(count)))
        self.asked += count
        for house in self.houses:
            await house.services.recorder.flush()
        log = self.houses[0].storage.decisions
        return [(each, (await log.get(each, "acme")).decision.policy_version) for each in decisions]

    async def complain(self, decision_id: str) -> None:
        answer = await self.admins[1].post("/v1/feedback", json={"decision_id": decision_id, "kind": "thumbs_down"})
        assert answer.status_code == 200, answer.text

    async def history(self) -> list[dict[str, Any]]:
        return (await self.admin.get("/v1/router/history")).json()["data"]


OpenTown = Callable[[], Any]


@pytest.fixture
def open_town(open_house: Any) -> OpenTown:
    @asynccontextmanager
    async def opened() -> AsyncGenerator[Town]:
        async with AsyncExitStack() as stack:
            houses = [await stack.enter_async_context(open_house(router={"poll_s": 0.1})) for _ in range(2)]
            admins = [await stack.enter_async_context(house.http(houses[0].token)) for house in houses]
            town = Town(houses, admins, new_metrics())
            settings = houses[0].settings.model_copy(update={"dispatcher": DispatcherSettings(poll_s=0.1)})
            courier = Courier(GuardedClient(settings.egress), Keyring.load(settings), SystemClock(), disable_after_s=3_600)
            needs = houses[0].dependencies
            ports = Ports(needs.storage, houses[0].hints, MemoryNotifier(), courier, SystemClock(), town.metrics, needs.ids)
            stop = asyncio.Event()
            running = asyncio.create_task(Dispatcher(ports, settings, settings.home / "run").run(stop))
            stack.push_async_callback(lambda: running)
            stack.callback(stop.set)
            yield town

    return opened


async def staged(town: Town, candidate: dict[str, Any], **fields: Any) -> tuple[str, str]:
    """The stable policy and a candidate at 25 %, followed by both gateways."""
    stable = await town.draft(FAST_ONLY)
    await town.publish(stable)
    version = await town.draft(candidate)
    state = await town.publish(version, percent=25, **fields)
    await town.followed(state["revision"])
    return stable, version


@both_databases
async def test_a_candidate_whose_users_complain_is_rolled_back_everywhere(open_town: OpenTown) -> None:
    async with open_town() as town:
        stable, candidate = await staged(town, FAST_ONLY | {"hysteresis": 0.1}, guardrails={"min_decisions": 12})
        served: list[tuple[str, str]] = []

        async def judged() -> bool:
            said = await town.talk(24)
            served.extend(said)
            await asyncio.gather(*(town.complain(decision_id) for decision_id, version in said if version == candidate))
            return (await town.state())["candidate"] is None

        await until(judged)
        assert {version for _, version in served} == {stable, candidate}
        state = await town.state()
        await town.followed(state["revision"])
        assert (state["active"], state["candidate"]) == (stable, None)
        assert [house.services.routing.policies.snapshot.candidate for house in town.houses] == [None, None]
        assert {version for _, version in await town.talk(12)} == {stable}
        newest = (await town.history())[0]
        assert (newest["action"], newest["version"], newest["actor"], newest["detail"]["guardrail"]) == (
            "auto_roll_back",
            candidate,
            "tandem",
            "negative",
        )
        assert (await town.admin.get(f"/v1/router/policies/{candidate}")).json()["status"] == "rolled_back"
        assert town.metrics.registry.get_sample_value("tandem_router_rollouts_total", {"action": "auto_roll_back"}) == 1


async def test_a_candidate_that_sends_nearly_everything_slow_is_rolled_back(open_town: OpenTown) -> None:
    async with open_town() as town:
        stable, candidate = await staged(town, SLOW_ONLY, guardrails={"min_decisions": 12, "max_queue_age_s": 3_600})
        house = town.houses[0]

        async def ask(number: int) -> None:
            """Threads do not wait for the job that a slow turn becomes."""
            thread = (await town.admins[number % 2].post("/v1/threads", json={})).json()["id"]
            answer = await town.admins[number % 2].post(f"/v1/threads/{thread}/messages", json={"content": f"hello number {number}"})
            assert answer.status_code == 202

        await asyncio.gather(*(ask(number) for number in range(120)))

        async def judged() -> bool:
            return (await town.state())["candidate"] is None

        await until(judged)
        state = await town.state()
        assert state["active"] == stable
        await town.followed(state["revision"])
        newest = (await town.history())[0]
        assert (newest["action"], newest["detail"]["guardrail"]) == ("auto_roll_back", "slow_share")
        assert newest["detail"]["candidate"] > 0.9
        assert newest["detail"]["stable"] == 0.0
        assert "slow share" in newest["detail"]["reason"]
        figures = {each.version: each for each in await house.storage.decisions.stats(3_600)}
        assert figures[candidate].slow == figures[candidate].auto > 0


async def test_an_unobjectionable_candidate_reaches_everybody_by_itself(open_town: OpenTown) -> None:
    async with open_town() as town:
        stable = await town.draft(FAST_ONLY)
        await town.publish(stable)
        candidate = await town.draft(FAST_ONLY | {"hysteresis": 0.1})
        state = await town.publish(candidate, percent=5, stage_s=0.5, guardrails={"min_decisions": 3})
        await town.followed(state["revision"])
        percents: set[int] = set()

        async def complete() -> bool:
            await town.talk(30)
            state = await town.state()
            percents.add(state["candidate"]["percent"] if state["candidate"] else 100)
            return state["active"] == candidate

        await until(complete)
        assert percents == {5, 25, 100} or percents == {25, 100}
        await town.followed((await town.state())["revision"])
        assert {version for _, version in await town.talk(8)} == {candidate}
        actions = [(each["action"], each["actor"]) for each in await town.history()]
        assert actions[:2] == [("complete", "tandem"), ("advance", "tandem")]
        assert (await town.admin.get(f"/v1/router/policies/{stable}")).json()["status"] == "retired"


async def test_a_conversation_stays_with_its_policy_in_every_gateway(open_town: OpenTown) -> None:
    async with open_town() as town:
        _, candidate = await staged(town, FAST_ONLY | {"hysteresis": 0.1}, guardrails={"min_decisions": 1_000_000})
        log = town.houses[0].storage.decisions
        for number in range(8):
            said = [{"role": "user", "content": f"hello number {number}"}]
            arms: set[tuple[str, str]] = set()
            for turn in range(3):
                body = {"model": "auto", "messages": said}
                answer = await town.admins[(number + turn) % 2].post("/v1/chat/completions", json=body)
                for house in town.houses:
                    await house.services.recorder.flush()
                decision = (await log.get(answer.headers["x-tandem-decision"], "acme")).decision
                arms.add((decision.policy_version, decision.arm))
                said += [{"role": "assistant", "content": "Hello there"}, {"role": "user", "content": f"and then {turn}?"}]
            assert len(arms) == 1, arms
            ((version, arm),) = arms
            assert (version == candidate) == (arm == "candidate")


async def test_the_kill_switch_holds_in_every_gateway_until_it_is_released(open_town: OpenTown) -> None:
    async with open_town() as town:
        slow = await town.draft(SLOW_ONLY)
        await town.publish(slow)
        state = (await town.admin.put("/v1/router/kill", json={"mode": "all_fast", "note": "the workers burn"})).json()
        await town.followed(state["revision"])
        for admin in town.admins:
            dry = (await admin.post("/v1/router/decide", json={"text": "hello"})).json()
            assert (dry["lane"], dry["override"]) == ("fast", "kill_switch")
            chosen = (await admin.post("/v1/router/decide", json={"text": "hello", "lane": "slow"})).json()
            assert (chosen["lane"], chosen["override"]) == ("slow", "lane")
        state = (await town.admin.delete("/v1/router/kill")).json()
        await town.followed(state["revision"])
        for admin in town.admins:
            assert (await admin.post("/v1/router/decide", json={"text": "hello"})).json()["lane"] == "slow"
        assert [each["action"] for each in (await town.history())[:2]] == ["unkill", "kill"]
