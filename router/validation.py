"""What is to be said of a policy before it is published, held against logged traffic. Pure.

A cut that no logged request can cross is an error: such a router looks healthy and never escalates, or escalates all. With few requests the same is a
warning, since the next one may cross.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from router.choice import CALM, Ask, Policy, matching_rule, without_score
from router.redecision import Traffic, is_auto, situation_of
from tandem.ports import LoggedDecision
from tandem.schemas.policies import Bands, ClassBands, FieldProblem, RoutingPolicy, Validation
from tandem.schemas.routing import CALLER_SOURCES, Intent, Language

ENOUGH: Final = 50
"""Requests from which "none of them" is an error: whatever none of 50 does, fewer than 6 % do (95 %)."""
GREEDY: Final = 0.95
"""Share of the requests from which a rule leaves nothing to the score."""


def validate(document: RoutingPolicy, logged: Sequence[LoggedDecision]) -> Validation:
    """All problems of a well-formed policy on logged requests (newest first), in the policy's order of fields. Each names its remedy."""
    policy = Policy.of("validated", document)
    traffic = Traffic.of(logged)
    problems = [*_mode(document), *_amount(len(logged))]
    if document.mode == "score":
        problems += [*_cuts(traffic, policy), *_cap(traffic, policy), *_asked(traffic, policy)]
    if document.mode != "all_fast":
        problems += _rules(traffic, policy)
    return Validation(problems=problems, judged_on=len(logged))


def _mode(document: RoutingPolicy) -> Iterator[FieldProblem]:
    if document.mode != "score":
        message = f"mode {document.mode!r} is a kill switch: no request is decided by its score; set 'score' for normal traffic"
        yield FieldProblem(level="warning", field="mode", message=message)


def _amount(requests: int) -> Iterator[FieldProblem]:
    if requests < ENOUGH:
        message = f"only {requests} logged requests: cuts and rules cannot be judged; look further back, or publish to 5 % first"
        yield FieldProblem(level="warning", field="bands", message=message)


def _cuts(traffic: Traffic, policy: Policy) -> Iterator[FieldProblem]:
    """Each pair of bands on the requests that it decides."""
    whole: list[float] = []
    by_class: dict[tuple[Language | None, Intent | None], list[float]] = {kind: [] for kind in policy.classes}
    for logged, ask in zip(traffic.logged, traffic.asks, strict=True):
        if without_score(ask, policy, situation_of(logged, policy, CALM)) is None:
            bands = policy.bands_of(ask.language, ask.intent)
            scores = by_class[bands.language, bands.intent] if isinstance(bands, ClassBands) else whole
            scores.append(ask.p_slow)
    if traffic.logged:
        yield from _uncrossed("bands", policy.document.bands, whole, is_all=not policy.document.classes)
        for place, each in enumerate(policy.document.classes):
            yield from _class(f"classes.{place}", each, by_class[each.language, each.intent], traffic)


def _class(field: str, bands: ClassBands, scores: Sequence[float], traffic: Traffic) -> Iterator[FieldProblem]:
    name = " in ".join(filter(None, (bands.intent, bands.language)))
    if scores:
        yield from _uncrossed(field, bands, scores, is_all=False)
    elif bands.intent is not None and all(ask.intent is None for ask in traffic.asks):
        message = f"no logged request has an intent, so this class ({name}) never holds; use a backend that gives one, or remove the class"
        yield FieldProblem(level="warning", field=field, message=message)
    else:
        message = f"none of {len(traffic.logged)} logged requests is of this class ({name}); remove it, or check language and intent"
        yield FieldProblem(level="warning", field=field, message=message)


def _uncrossed(field: str, bands: Bands, scores: Sequence[float], *, is_all: bool) -> Iterator[FieldProblem]:
    """Cuts with all requests on one side."""
    if not scores:
        message = "no logged request is decided by these bands: rules, callers or classes settle all of them"
        yield FieldProblem(level="warning", field=field, message=message)
        return
    level = "error" if len(scores) >= ENOUGH else "warning"
    whose = f"{len(scores)} logged requests" if is_all else f"{len(scores)} logged requests of these bands"
    lowest, highest = min(scores), max(scores)
    if highest < bands.slow_at:
        remedy = f"lower it to {highest:.3g} or below, or set mode 'all_fast' if nothing is to go slow"
        message = f"none of {whose} reaches slow_at {bands.slow_at:g} (the highest p_slow is {highest:.3g}), so nothing goes slow; {remedy}"
        yield FieldProblem(level=level, field=f"{field}.slow_at", message=message)
    elif lowest >= bands.slow_at:
        remedy = f"raise it above {lowest:.3g}"
        message = f"none of {whose} is below slow_at {bands.slow_at:g} (the lowest p_slow is {lowest:.3g}), so everything goes slow; {remedy}"
        yield FieldProblem(level=level, field=f"{field}.slow_at", message=message)
    elif lowest >= bands.check_at and bands.check_at < bands.slow_at:
        # A check_at of 0 is not a cut that misses its traffic but says that nothing is to stay unchecked.
        remedy = f"raise it above {lowest:.3g}"
        message = (
            f"none of {whose} is below check_at {bands.check_at:g} (the lowest p_slow is {lowest:.3g}), so every fast answer is checked; {remedy}"
        )
        yield FieldProblem(level=level if bands.check_at > 0 else "warning", field=f"{field}.check_at", message=message)
    elif bands.check_at < bands.slow_at and not any(bands.check_at <= score < bands.slow_at for score in scores):
        message = f"none of {whose} is between check_at {bands.check_at:g} and slow_at {bands.slow_at:g}; lower check_at, or set it to slow_at"
        yield FieldProblem(level="warning", field=f"{field}.check_at", message=message)


def _cap(traffic: Traffic, policy: Policy) -> Iterator[FieldProblem]:
    cap = policy.document.slow_share_cap
    if cap is None:
        return
    uncapped = Policy.of(policy.version, policy.document.model_copy(update={"slow_share_cap": None}))
    auto = [choice for choice in traffic.choices(uncapped) if is_auto(choice)]
    share = sum(choice.lane == "slow" for choice in auto) / len(auto) if auto else 0.0
    if len(auto) >= ENOUGH and share > cap:
        held = f"the cuts send {share:.1%} of {len(auto)} logged requests slow, above the cap of {cap:.1%}: the rest would only be checked"
        message = f"{held}; raise bands.slow_at or the cap, or find the cut with `target_slow_share`"
        yield FieldProblem(level="warning", field="slow_share_cap", message=message)


def _asked(traffic: Traffic, policy: Policy) -> Iterator[FieldProblem]:
    between = policy.document.ask_between
    if policy.document.backend == "linear" or not traffic.asks:
        return
    if not any(between.check_at <= ask.p_slow < between.slow_at for ask in traffic.asks):
        message = (
            f"none of {len(traffic.asks)} logged requests is between {between.check_at:g} and {between.slow_at:g}, so the backend is never asked"
        )
        yield FieldProblem(level="warning", field="ask_between", message=f"{message}; widen it, or use backend 'linear'")


def _rules(traffic: Traffic, policy: Policy) -> Iterator[FieldProblem]:
    if not policy.document.rules or not traffic.logged:
        return
    met = Counter(
        rule.name
        for logged, ask in zip(traffic.logged, traffic.asks, strict=True)
        if _is_open(ask, policy, logged) and (rule := matching_rule(ask, policy.document, logged.tenant)) is not None
    )
    knows_words = any(ask.text is not None for ask in traffic.asks)
    for place, rule in enumerate(policy.document.rules):
        message = None
        if rule.contains is not None and not knows_words:
            message = f"rule {rule.name!r} is about words, and no logged request has its text; set router.log_prompts to see what it would catch"
        elif not met[rule.name]:
            message = (
                f"rule {rule.name!r} catches none of {len(traffic.logged)} logged requests; check its conditions, or an earlier rule catches them"
            )
        elif met[rule.name] >= GREEDY * len(traffic.logged):
            message = (
                f"rule {rule.name!r} catches {met[rule.name]} of {len(traffic.logged)} logged requests and leaves nothing to the score; narrow it"
            )
        if message is not None:
            yield FieldProblem(level="warning", field=f"rules.{place}", message=message)


def _is_open(ask: Ask, policy: Policy, logged: LoggedDecision) -> bool:
    """Whether nobody who comes before the rules settles it."""
    settled = without_score(ask, policy, situation_of(logged, policy, CALM))
    return settled is None or (settled[1] not in CALLER_SOURCES and settled[1] != "context")
