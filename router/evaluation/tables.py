"""The report as Markdown, so that no number in the documentation is typed by hand. Pure."""

from collections.abc import Mapping, Sequence
from typing import Final

from router.evaluation.lanes import LaneFigures, Lanes
from router.evaluation.reliability import Reliability
from router.evaluation.report import Report
from router.evaluation.robustness import Flips
from router.evaluation.routellm import AS_IS, SetFigures
from router.evaluation.weeks import Weeks
from router.training.metrics import Share
from router.training.protocol import Interval

SET_NAMES: Final = {"gsm8k": "GSM8K", "mmlu": "MMLU"}


def render(report: Report) -> str:
    """All chapters."""
    reliability = report["reliability"]
    return "\n".join([
        f"# Evaluation of {report['model_version']}",
        "",
        f"Policy {report['policy_version']}: checked from {report['check_at']:g}, slow from {report['slow_at']:g}. Seed {report['seed']}, "
        f"{report['resamples']} bootstrap resamples.",
        "",
        "## RouteLLM protocol",
        f"Outcomes of these sets in the artefact's training: {report['routellm_labels']}.",
        "",
        *(line for name, figures in report["routellm"].items() for line in _routellm(SET_NAMES.get(name, name), figures)),
        "## Calibration",
        *(_reliability(reliability) if reliability is not None else ["Not judged: no predictions for unseen rows were given (`--predictions`).", ""]),
        "## Briefs and small talk",
        *_lanes(report["lanes"]),
        "## Changed wordings",
        *_robustness(report["robustness"]),
        "## Slow share on the next week",
        *_weeks(report["weeks"]),
    ])


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)] + [""]


def _routellm(name: str, figures: SetFigures) -> list[str]:
    mean, low, high = figures["random_apgr"]
    rows = [
        [
            router,
            _interval(line["apgr"]),
            *(f"{line['cpt'][target]['value']:.1f}" + ("" if line["rises_evenly"] else " *") for target in ("50", "80")),
            f"{line['weak_wrong']:.3f}",
            f"{line['need_strong']:.3f}",
            _interval(line["ahead"], sign=True) if line["ahead"] is not None else "",
        ]
        for router, line in figures["routers"].items()
    ]
    rows.append(["random, 100 draws", f"{mean:.3f} [{low:.3f}, {high:.3f}]", "50", "80", ".500", ".500", ""])
    gold = figures["gold"]
    return [
        f"### {name}: {figures['rows']} questions",
        f"Weak model right {figures['weak']:.3f}, strong {figures['strong']:.3f} (which is the best constant), either {figures['query_oracle']:.3f}.",
        "",
        *_table(["router", "APGR", "CPT50 %", "CPT80 %", "AUROC weak wrong", "AUROC need strong", f"{AS_IS} is ahead by"], rows),
        *(["\\* accuracy does not rise evenly; the smallest share that reaches the target.", ""] if not _rise_evenly(figures) else []),
        *(
            [
                f"The features with {gold['labels']} labels of this set, on the other {gold['rows']} rows: APGR {gold['mean']:.3f}, mean of "
                f"{len(gold['seeds'])} seeds ({min(gold['seeds']):.3f} to {max(gold['seeds']):.3f}); the first {_interval(gold['first']['apgr'])}.",
                "",
            ]
            if gold is not None
            else []
        ),
    ]


def _rise_evenly(figures: SetFigures) -> bool:
    return all(line["rises_evenly"] for line in figures["routers"].values())


def _reliability(reliability: Reliability) -> list[str]:
    head = ["rows of", "n", "slow", "mean P(slow)", "ECE", "Brier", "AUROC"]
    tables: list[str] = []
    for part in (reliability["by_language"], reliability["by_source"]):
        rows = [
            [
                name,
                str(one["rows"]),
                f"{one['slow']:.3f}",
                f"{one['mean']:.3f}",
                f"{one['ece']:.3f}",
                f"{one['brier']:.3f}",
                "" if one["auroc"] is None else f"{one['auroc']:.3f}",
            ]
            for name, one in part.items()
        ]
        tables.extend(_table(head, rows))
    return tables


def _lanes(lanes: Lanes) -> list[str]:
    rows = [
        [f"{name} ({language})", _share(figures["recall"][language]), _share(figures["noticed"][language])]
        for name, figures in lanes["briefs"].items()
        for language in figures["recall"]
    ]
    rows += [[f"small talk ({language})", _share(share), ""] for language, share in lanes["talk"].items()]
    rows += [
        [f"{name} ({language}), {peer}: above its cheapest tier", _share(share), ""]
        for name, found in (lanes["peers"] | {"small talk": lanes["peers_talk"]}).items()
        for peer, shares in found.items()
        for language, share in shares.items()
    ]
    return [
        *_table(["prompts", "sent slow", "slow or checked"], rows),
        *(line for name, figures in lanes["briefs"].items() for line in _equal(name, figures)),
    ]


def _equal(name: str, figures: LaneFigures) -> list[str]:
    rows = [[f"{one['share']:.0%}", _share(one["en"]), _share(one["zh"]), f"{one['gap']:+.1f}"] for one in figures["equal"]]
    return [f"Recall of {name}, where each language sends the same share of its everyday traffic slow:", "",
            *_table(["slow share", "English", "Chinese", "gap, points"], rows)]  # fmt: skip


def _robustness(flips: Mapping[str, Mapping[str, Flips]]) -> list[str]:
    rows = [
        [change, language, str(one["lanes"]["rows"]), _percent(one["lanes"]), _percent(one["bands"])]
        for language, changes in flips.items()
        for change, one in changes.items()
    ]
    return _table(["change", "language", "n", "lanes that flip, %", "bands that flip, %"], rows)


def _weeks(weeks: Weeks) -> list[str]:
    parts = {"same mix": weeks["same"], "mix varies by day": weeks["varies"], "traffic shifts": weeks["shifted"]}
    rows = [
        [name, f"{one['target']:.0%}", f"{one['mean']:.1%}", f"{one['mean_error']:.1%}", f"{one['worst_error']:.1%}", f"{one['within']:.0%}"]
        for name, landings in parts.items()
        for one in landings
    ]
    return [
        f"{weeks['pairs']} pairs of synthetic weeks of about {weeks['requests']} requests; errors in points.",
        "",
        *_table(["next week", "target", "mean share", "mean error", "95th percentile", "within 2 points"], rows),
    ]


def _interval(interval: Interval, *, sign: bool = False) -> str:
    plus = "+" if sign else ""
    return f"{interval['value']:{plus}.3f} [{interval['low']:{plus}.3f}, {interval['high']:{plus}.3f}]"


def _share(share: Share) -> str:
    return f"{share['share']:.3f} [{share['low']:.3f}, {share['high']:.3f}] of {share['rows']}"


def _percent(share: Share) -> str:
    return f"{100 * share['share']:.1f} [{100 * share['low']:.1f}, {100 * share['high']:.1f}]"
