from collections.abc import Callable

import pytest

from router.validation import validate
from tandem.ports import LoggedDecision
from tandem.schemas.policies import RoutingPolicy

Logged = Callable[..., LoggedDecision]


def found(log: list[LoggedDecision], **fields: object) -> list[tuple[str, str, str]]:
    problems = validate(RoutingPolicy.model_validate(fields), log).problems
    return [(each.level, each.field, each.message) for each in problems]


def spread(logged: Logged, size: int = 100, **fields: object) -> list[LoggedDecision]:
    """Scores from 0.1 to 0.8 and a little."""
    return [logged(0.1 + 0.7 * number / size, **fields) for number in range(size)]


def test_a_policy_that_fits_its_traffic_has_no_problems(logged: Logged) -> None:
    verdict = validate(RoutingPolicy(slow_share_cap=None), spread(logged))
    assert (verdict.problems, verdict.judged_on) == ([], 100)


@pytest.mark.parametrize(
    ("bands", "field", "words"),
    [
        ({"check_at": 0.2, "slow_at": 0.9}, "bands.slow_at", "reaches slow_at 0.9 (the highest p_slow is 0.793), so nothing goes slow; lower it"),
        ({"check_at": 0.05, "slow_at": 0.05}, "bands.slow_at", "is below slow_at 0.05 (the lowest p_slow is 0.1), so everything goes slow; raise it"),
        ({"check_at": 0.05, "slow_at": 0.5}, "bands.check_at", "is below check_at 0.05 (the lowest p_slow is 0.1), so every fast answer is checked"),
    ],
)
def test_a_cut_that_no_request_crosses_is_an_error(bands: dict[str, float], field: str, words: str, logged: Logged) -> None:
    ((level, where, message),) = found(spread(logged), bands=bands, slow_share_cap=None)
    assert (level, where) == ("error", field)
    assert message.startswith("none of 100 logged requests ")
    assert words in message


def test_with_few_requests_it_is_a_warning(logged: Logged) -> None:
    problems = found(spread(logged, 49), bands={"check_at": 0.2, "slow_at": 0.9})
    assert [(level, field) for level, field, _ in problems] == [("warning", "bands"), ("warning", "bands.slow_at")]
    assert "only 49 logged requests" in problems[0][2]


def test_an_empty_log_is_a_warning() -> None:
    assert [each[:2] for each in found([])] == [("warning", "bands")]


def test_to_check_all_is_allowed_and_said(logged: Logged) -> None:
    ((level, field, _),) = found(spread(logged), bands={"check_at": 0, "slow_at": 0.6})
    assert (level, field) == ("warning", "bands.check_at")


def test_an_empty_check_band_is_a_warning(logged: Logged) -> None:
    log = [logged(0.1 if number % 4 else 0.9) for number in range(100)]
    ((level, field, message),) = found(log)
    assert (level, field) == ("warning", "bands.check_at")
    assert "between check_at 0.35 and slow_at 0.5; lower check_at, or set it to slow_at" in message


def test_what_callers_forced_does_not_cross_a_cut(logged: Logged) -> None:
    log = [*spread(logged), logged(0.99, lane="slow", override="lane"), logged(0.99, lane="slow", override="text")]
    assert found(log, bands={"check_at": 0.3, "slow_at": 0.95})[0][:2] == ("error", "bands.slow_at")


def test_a_class_is_judged_on_its_own_requests(logged: Logged) -> None:
    log = [*spread(logged, 100), *[logged(0.2 + number / 1_000, language="zh") for number in range(60)]]
    ((level, field, message),) = found(log, classes=[{"language": "zh", "check_at": 0.5, "slow_at": 0.5}])
    assert (level, field) == ("error", "classes.0.slow_at")
    assert "none of 60 logged requests of these bands reaches slow_at 0.5" in message


def test_a_class_that_never_occurs_is_a_warning(logged: Logged) -> None:
    log = spread(logged, intent="math")
    problems = found(
        log, slow_share_cap=None, classes=[{"language": "zh", "check_at": 0.3, "slow_at": 0.5}, {"intent": "code", "check_at": 0.3, "slow_at": 0.5}]
    )
    assert [(level, field) for level, field, _ in problems] == [("warning", "classes.0"), ("warning", "classes.1")]
    assert "none of 100 logged requests is of this class (zh)" in problems[0][2]


def test_a_class_by_intent_is_none_without_intents(logged: Logged) -> None:
    ((_, field, message),) = found(spread(logged), slow_share_cap=None, classes=[{"intent": "code", "check_at": 0.3, "slow_at": 0.5}])
    assert field == "classes.0"
    assert "no logged request has an intent" in message


def test_classes_that_take_all_leave_nothing_to_the_bands(logged: Logged) -> None:
    ((level, field, message),) = found(spread(logged), slow_share_cap=None, classes=[{"language": "en", "check_at": 0.3, "slow_at": 0.5}])
    assert (level, field) == ("warning", "bands")
    assert "no logged request is decided by these bands" in message


def test_a_cap_below_the_share_is_a_warning(logged: Logged) -> None:
    ((level, field, message),) = found(spread(logged), slow_share_cap=0.3)
    assert (level, field) == ("warning", "slow_share_cap")
    assert "the cuts send 42.0% of 100 logged requests slow, above the cap of 30.0%" in message


def test_a_kill_switch_as_mode_is_told(logged: Logged) -> None:
    ((level, field, message),) = found(spread(logged), mode="all_fast", bands={"check_at": 0.9, "slow_at": 0.9})
    assert (level, field) == ("warning", "mode")
    assert "set 'score'" in message


def test_rules_are_held_against_traffic(logged: Logged) -> None:
    log = spread(logged, text="please prove it")
    rules = [
        {"name": "none", "lane": "slow", "contains": "poem"},
        {"name": "all", "lane": "fast", "contains": "PROVE"},
        {"name": "hidden", "lane": "slow", "min_chars": 3},
    ]
    problems = [each for each in found(log, rules=rules, slow_share_cap=None) if each[1].startswith("rules")]
    assert [field for _, field, _ in problems] == ["rules.0", "rules.1", "rules.2"]
    assert "catches none of 100" in problems[0][2]
    assert "catches 100 of 100 logged requests and leaves nothing to the score" in problems[1][2]
    assert "an earlier rule catches them" in problems[2][2]


def test_a_rule_about_words_needs_logged_words(logged: Logged) -> None:
    ((_, field, message),) = found(spread(logged), rules=[{"name": "poem", "lane": "fast", "contains": "poem"}], slow_share_cap=None)
    assert field == "rules.0"
    assert "no logged request has its text" in message


def test_a_rule_that_callers_alone_would_meet_catches_none(logged: Logged) -> None:
    log = [*spread(logged), logged(0.9, lane="slow", override="lane", language="zh"), logged(0.9, lane="slow", override="context", language="zh")]
    ((_, field, _),) = found(log, rules=[{"name": "zh", "lane": "fast", "language": "zh"}], slow_share_cap=None)
    assert field == "rules.0"
    assert found([*log, logged(0.9, language="zh")], rules=[{"name": "zh", "lane": "fast", "language": "zh"}], slow_share_cap=None) == []


def test_a_backend_that_is_never_asked_is_told(logged: Logged) -> None:
    ((level, field, _),) = found(spread(logged), backend="readout", ask_between={"check_at": 0.9, "slow_at": 0.95}, slow_share_cap=None)
    assert (level, field) == ("warning", "ask_between")
    assert found(spread(logged), backend="readout", slow_share_cap=None) == []
