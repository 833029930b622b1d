"""The doors of the routing on a real gateway and database: drafts, validation, publishing, evidence, labels and feedback."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from tandem.client import AsyncTandemClient
from tandem.errors import Conflict, NotFound, PolicyRefused
from tandem.ids import TenantId
from tandem.ports import LoggedDecision
from tandem.schemas.outcomes import FeedbackCreate, LabelVerdict, OutcomeImport
from tandem.schemas.policies import Bands, ClassBands, PolicyDraft, Publish, ReplayRequest, RollBack, RoutingPolicy
from tandem.schemas.routing import Decision, Lane, ShadowDecision

pytestmark = pytest.mark.integration
both_databases = pytest.mark.parametrize("database_url", ["sqlite", "postgres"], indirect=True)
ACME = TenantId("acme")


def logged(house: Any, p_slow: float, *, shadow: ShadowDecision | None = None, lane: Lane | None = None) -> LoggedDecision:
    lane = lane or ("slow" if p_slow >= 0.5 else "fast")
    decision = Decision(
        lane=lane, band=lane, effort="low", p_slow=p_slow, check_at=0.5, threshold=0.5, margin=p_slow - 0.5, policy_version="settings",
        model_version="m", language="en", shadow=shadow,
    )  # fmt: skip
    return LoggedDecision(house.dependencies.ids.decision(), ACME, decision, 20, "chat")


async def keep(house: Any, scores: Sequence[float], **fields: Any) -> list[LoggedDecision]:
    rows = [logged(house, score, **fields) for score in scores]
    await house.storage.decisions.add(rows)
    return rows


def client_of(house: Any, token: str | None = None) -> AsyncTandemClient:
    return AsyncTandemClient(house.url, token or house.token)


def spread(count: int) -> list[float]:
    """Scores from just above 0 to just below 1."""
    return [(place + 0.5) / count for place in range(count)]


def policy(slow_at: float, check_at: float | None = None, **fields: Any) -> RoutingPolicy:
    return RoutingPolicy(bands=Bands(check_at=slow_at if check_at is None else check_at, slow_at=slow_at), slow_share_cap=None, **fields)


@both_databases
async def test_a_policy_goes_from_draft_to_active_and_back(house: Any) -> None:
    await keep(house, spread(100))
    async with client_of(house) as client:
        first = await client.draft_policy(PolicyDraft(policy=policy(0.6), note="first"))
        assert (first.status, first.number, first.parent, first.note) == ("draft", 1, None, "first")
        second = await client.draft_policy(PolicyDraft(policy=policy(0.7)))
        assert [each.version for each in (await client.list_policies()).data] == [second.version, first.version]
        state = await client.publish_policy(first.version, Publish(expected_revision=0))
        assert (state.revision, state.active) == (1, first.version)
        assert (await client.decide("hello")).policy_version == first.version
        changes = (await client.diff_policies(second.version, first.version)).data
        assert [(each.field, each.before, each.after) for each in changes] == [("bands.check_at", "0.6", "0.7"), ("bands.slow_at", "0.6", "0.7")]
        await client.publish_policy(second.version, Publish())
        back = await client.roll_back_policy(RollBack(note="worse"))
        assert (back.active, back.revision) == (first.version, 3)
        settled = await client.roll_back_policy(RollBack(to="settings"))
        assert settled.active is None
        assert (await client.get_policy("settings")).status == "active"
        statuses = {each.version: each.status for each in (await client.list_policies()).data}
        assert statuses == {first.version: "rolled_back", second.version: "rolled_back"}
        page = await client.routing_history(limit=2)
        older = await client.routing_history(before=page.next_before, limit=10)
        assert [each.action for each in page.data + older.data] == ["roll_back", "roll_back", "publish", "publish", "draft", "draft"]
        assert page.data[1].detail["reason"] == "worse"


async def test_a_cut_that_no_logged_request_crosses_is_refused_with_the_findings(house: Any) -> None:
    await keep(house, [score * 0.2 for score in spread(120)])
    async with client_of(house) as client, house.http() as http:
        version = (await client.draft_policy(PolicyDraft(policy=policy(0.75)))).version
        validation = await client.validate_policy(version)
        assert [(each.level, each.field) for each in validation.problems] == [("error", "bands.slow_at")]
        assert validation.judged_on == 120
        answer = await http.post(f"/v1/router/policies/{version}/publish", json={})
        error = answer.json()["error"]
        assert (answer.status_code, error["code"], error["param"]) == (422, "policy_refused", "policy.bands.slow_at")
        assert "reaches slow_at 0.75" in error["message"]
        with pytest.raises(PolicyRefused):
            await client.publish_policy(version, Publish(percent=5))
        assert (await client.publish_policy(version, Publish(is_forced=True))).active == version


async def test_a_backend_that_the_gateway_has_not_is_refused(open_house: Any) -> None:
    async with open_house() as house, client_of(house) as client:
        version = (await client.draft_policy(PolicyDraft(policy=policy(0.5, backend="decision_model")))).version
        found = (await client.validate_policy(version)).problems
        assert ("error", "backend") in [(each.level, each.field) for each in found]


async def test_who_has_seen_an_older_routing_is_refused(house: Any) -> None:
    async with client_of(house) as client:
        version = (await client.draft_policy(PolicyDraft(policy=policy(0.6)))).version
        other = (await client.draft_policy(PolicyDraft(policy=policy(0.7)))).version
        await client.publish_policy(version, Publish(expected_revision=0))
        with pytest.raises(Conflict, match="revision 1, not 0"):
            await client.publish_policy(other, Publish(expected_revision=0))
        with pytest.raises(Conflict, match="no rollout is under way"):
            await client.advance_rollout()
        with pytest.raises(Conflict, match="never published"):
            await client.roll_back_policy(RollBack(to=other))
        with pytest.raises(NotFound):
            await client.publish_policy("pol_" + "0" * 26, Publish())


async def test_what_changes_nothing_raises_no_revision(house: Any) -> None:
    async with client_of(house) as client:
        version = (await client.draft_policy(PolicyDraft(policy=policy(0.6)))).version
        assert (await client.release_kill_switch()).revision == 0
        assert [(await client.set_shadow(version)).revision for _ in range(2)] == [1, 1]
        assert [(await client.end_shadow()).revision for _ in range(2)] == [2, 2]
        assert [each.action for each in (await client.routing_history()).data] == ["shadow", "shadow", "draft"]


async def test_the_policy_of_the_settings_is_gone_back_to_not_published(house: Any) -> None:
    async with client_of(house) as client:
        with pytest.raises(Conflict, match="rollback"):
            await client.publish_policy("settings", Publish())


@pytest.mark.parametrize("field", ["name", "tenant", "contains"])
async def test_a_rule_holds_no_text_that_a_database_cannot_keep(house: Any, field: str) -> None:
    rule = {"name": "a", "lane": "slow", "min_chars": 5} | {field: "a\0"}
    async with house.http() as http:
        answer = await http.post("/v1/router/policies", json={"policy": {"rules": [rule]}})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, f"policy.rules.0.{field}")


async def test_changes_at_once_all_come_through(house: Any) -> None:
    async with client_of(house) as client:
        versions = [(await client.draft_policy(PolicyDraft(policy=policy(0.5 + place / 100)))).version for place in range(3)]
        states = await asyncio.gather(*(client.set_shadow(version) for version in versions), client.throw_kill_switch("all_fast"))
        assert sorted(state.revision for state in states) == [1, 2, 3, 4]


async def test_a_draft_sent_twice_under_one_key_is_one_draft(house: Any) -> None:
    async with house.http() as http:
        body = {"policy": {"explore": 0.01}}
        first = await http.post("/v1/router/policies", json=body, headers={"idempotency-key": "k"})
        again = await http.post("/v1/router/policies", json=body, headers={"idempotency-key": "k"})
        other = await http.post("/v1/router/policies", json={"policy": {}}, headers={"idempotency-key": "k"})
    assert (first.status_code, again.status_code, other.status_code) == (201, 201, 422)
    assert (first.json(), again.headers["idempotent-replayed"]) == (again.json(), "true")
    assert other.json()["error"]["code"] == "idempotency_key_reused"


async def test_a_dry_run_asks_the_version_it_names(house: Any) -> None:
    async with client_of(house) as client:
        slow = (await client.draft_policy(PolicyDraft(policy=policy(0.0)))).version
        assert (await client.decide("hello")).lane == "fast"
        dry = await client.decide("hello", policy_version=slow)
        assert (dry.lane, dry.policy_version) == ("slow", slow)
        with pytest.raises(NotFound):
            await client.decide("hello", policy_version="pol_" + "0" * 26)


@both_databases
async def test_a_replay_says_what_a_draft_would_change(house: Any) -> None:
    await keep(house, spread(200))
    async with client_of(house) as client:
        version = (await client.draft_policy(PolicyDraft(policy=policy(0.8)))).version
        found = await client.replay_policy(ReplayRequest(version=version))
        assert (found.decisions, found.flips) == (200, 60)
        assert (found.slow_share_before.value, found.slow_share.value) == (0.5, 0.2)
        assert found.slow_share.low is not None
        assert found.slow_share.low < 0.2
        assert found.quality.value is None
        assert "unknown" in found.quality_basis
        turned = await client.replay_policy(ReplayRequest(policy=policy(0.5), target_slow_share=0.3))
        assert turned.slow_share.value == pytest.approx(0.3, abs=0.02)
        assert turned.policy.bands.slow_at == pytest.approx(0.7, abs=0.02)
        unstored = await client.replay_policy(ReplayRequest(policy=policy(0.5, classes=[ClassBands(language="en", check_at=0.9, slow_at=0.9)])))
        assert unstored.by_language["en"].value == 0.1


async def test_collected_answers_tell_the_quality_of_a_policy(house: Any) -> None:
    await keep(house, spread(60))
    rows = [OutcomeImport(text=f"Prove theorem number {place} by induction, step by step", fast_score=0.0, slow_score=1.0) for place in range(40)]
    async with client_of(house) as client:
        await client.import_labels(rows)
        slow = await client.replay_policy(ReplayRequest(policy=policy(0.0)))
        fast = await client.replay_policy(ReplayRequest(policy=policy(1.0)))
    assert (slow.quality.value, fast.quality.value) == (1.0, 0.0)
    assert "40 collected prompts" in slow.quality_basis


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"version": "settings", "policy": {}}, "policy"),
        ({"target_slow_share": 0.2, "target_quality": 0.9}, "target_quality"),
        ({"target_slow_share": 0.2}, "target_slow_share"),
        ({"target_quality": 0.9}, "target_quality"),
        ({"limit": 1_000_000}, "limit"),
        ({"policy": {"bands": {"check_at": 0.9, "slow_at": 0.1}}}, "policy.bands"),
    ],
)
async def test_a_replay_that_makes_no_sense_says_what_to_change(house: Any, body: dict[str, Any], param: str) -> None:
    async with house.http() as http:
        answer = await http.post("/v1/router/replay", json=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param), answer.text


async def test_the_shadow_decides_beside_the_active_policy_and_is_reported(house: Any) -> None:
    async with client_of(house) as client, house.http() as http:
        assert (await client.shadow_report()).version is None
        version = (await client.draft_policy(PolicyDraft(policy=policy(0.0)))).version
        assert (await client.set_shadow(version)).shadow == version
        for place in range(6):
            body = {"model": "auto", "messages": [{"role": "user", "content": f"hello {place}"}]}
            assert (await http.post("/v1/chat/completions", json=body)).headers["x-tandem-lane"] == "fast"
        await house.services.recorder.flush()
        report = await client.shadow_report()
        assert (report.decisions, report.to_slow, report.to_fast, report.agreement.value, report.slow_share.value) == (6, 6, 0, 0.0, 1.0)
        assert (await client.end_shadow()).shadow is None


async def test_the_statistics_count_versions_traffic_and_drift(house: Any) -> None:
    await keep(house, spread(60))
    async with client_of(house) as client:
        stats = await client.router_stats()
        (version,) = stats.versions
        assert (version.version, version.arm, version.decisions, version.slow) == ("settings", "stable", 60, 30)
        assert stats.by_language == {"en": 60}
        assert stats.by_intent == {"unknown": 60}
        assert stats.p_slow_histogram == [3] * 20
        assert {each.what for each in stats.drift} == {"p_slow", "language", "intent", "slow_share", "calibration"}
        assert {each.level for each in stats.drift} == {"unknown"}


async def test_the_evidence_process_is_started_anew_when_it_has_gone_and_ends_with_the_gateway(open_house: Any) -> None:
    async with open_house() as house, client_of(house) as client:
        await client.router_stats()
        first = house.services.evidence._process
        first.kill()
        await first.wait()
        await client.router_stats()
        second = house.services.evidence._process
        assert second.pid != first.pid
    assert second.returncode is not None


async def test_feedback_becomes_a_label_that_is_approved_and_exported(house: Any) -> None:
    async with client_of(house) as client, house.http() as http:
        body = {"model": "fast", "messages": [{"role": "user", "content": "hello"}]}
        decision_id = (await http.post("/v1/chat/completions", json=body)).headers["x-tandem-decision"]
        given = await client.give_feedback(FeedbackCreate(decision_id=decision_id, kind="wrong_route"))
        assert given.wanted_lane == "slow"
        await client.give_feedback(FeedbackCreate(decision_id=decision_id, kind="wrong_route", comment="again"))
        page = await client.list_labels(status="pending")
        (label,) = page.data
        assert (label.kind, label.source, label.comment, page.next_after) == ("wrong_route", "user", "again", None)
        assert await client.export_labels() == []
        approved = await client.judge_label(label.id, LabelVerdict(status="approved"))
        assert (approved.status, approved.wanted_lane) == ("approved", "slow")
        assert await client.export_labels() == [approved]
        assert (await client.judge_label(label.id, LabelVerdict(status="rejected", wanted_lane="fast"))).wanted_lane == "fast"


async def test_feedback_about_another_tenants_decision_finds_nothing(house: Any) -> None:
    async with house.http() as http, client_of(house, house.other_token) as rival:
        body = {"model": "fast", "messages": [{"role": "user", "content": "hello"}]}
        decision_id = (await http.post("/v1/chat/completions", json=body)).headers["x-tandem-decision"]
        with pytest.raises(NotFound):
            await rival.give_feedback(FeedbackCreate(decision_id=decision_id, kind="thumbs_down"))
        with pytest.raises(NotFound):
            await rival.give_feedback(FeedbackCreate(decision_id="dec_", kind="thumbs_down"))
        assert (await rival.list_labels()).data == []


async def test_imported_scores_replace_those_of_the_same_text(house: Any) -> None:
    async with client_of(house) as client:
        first = await client.import_labels([
            OutcomeImport(text="a", fast_score=0.0, slow_score=1.0),
            OutcomeImport(text="b", fast_score=1, slow_score=1),
        ])
        again = await client.import_labels([OutcomeImport(text="a", fast_score=1.0, slow_score=1.0)])
        assert again.decision_ids == first.decision_ids[:1]
        rows = {each.text: each for each in (await client.list_labels(kind="answer_scored")).data}
        assert {text: (row.fast_score, row.wanted_lane, row.source) for text, row in rows.items()} == {
            "a": (1.0, "fast", "collect"),
            "b": (1.0, "fast", "collect"),
        }
