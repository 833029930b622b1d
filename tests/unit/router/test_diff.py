from router.diff import diff
from tandem.schemas.policies import Bands, ClassBands, FixedRule, PolicyDiff, RoutingPolicy


def test_equal_policies_do_not_differ() -> None:
    policy = RoutingPolicy(rules=[FixedRule(name="a", lane="slow", min_chars=9)], classes=[ClassBands(language="zh", check_at=0.1, slow_at=0.2)])
    assert diff(policy, policy.model_copy()) == []


def test_fields_are_named_by_their_path() -> None:
    before = RoutingPolicy()
    after = RoutingPolicy(bands=Bands(check_at=0.35, slow_at=0.6), slow_share_cap=None, mode="all_fast")
    assert diff(before, after) == [
        PolicyDiff(field="mode", before="score", after="all_fast"),
        PolicyDiff(field="bands.slow_at", before="0.5", after="0.6"),
        PolicyDiff(field="slow_share_cap", before="0.4", after="null"),
    ]


def test_rules_go_by_name_and_classes_by_what_they_are_for() -> None:
    before = RoutingPolicy(
        rules=[FixedRule(name="a", lane="slow", min_chars=9), FixedRule(name="b", lane="fast", contains="嗨")],
        classes=[ClassBands(language="zh", check_at=0.1, slow_at=0.2)],
    )
    after = RoutingPolicy(
        rules=[before.rules[1], FixedRule(name="a", lane="slow", min_chars=10)],
        classes=[ClassBands(language="zh", intent="math", check_at=0.1, slow_at=0.2), ClassBands(language="zh", check_at=0.1, slow_at=0.3)],
    )
    assert [(each.field, each.before, each.after) for each in diff(before, after)] == [
        ("classes.zh.slow_at", "0.2", "0.3"),
        ("rules.a.min_chars", "9", "10"),
        ("rules_order", '["a", "b"]', '["b", "a"]'),
        ("classes.zh+math.check_at", "absent", "0.1"),
        ("classes.zh+math.slow_at", "absent", "0.2"),
        ("classes.zh+math.language", "absent", "zh"),
        ("classes.zh+math.intent", "absent", "math"),
    ]
