"""Writes the artefact's card from its metrics, so that no number in it is typed by hand."""

from collections.abc import Mapping

from router.training.evaluation import Figures
from router.training.metrics import Share
from router.training.summary import Summary

_DATA = """\
| source | label | licence |
|---|---|---|
| clinc/oos-eval (CLINC150) | fast: assistant intents | CC BY 3.0 |
| PolyAI task-specific-datasets (BANKING77) | fast: support intents | CC BY 4.0 |
| thu-coai/CrossWOZ user turns | fast: Chinese task dialogue | Apache-2.0 |
| LianjiaTech/BELLE evaluation set | fast: questions, rewriting, extraction; slow: mathematics, code | Apache-2.0 / ODC-By |
| TIGER-AI-Lab/MMLU-Pro evaluation results | slow: at most two of six small models right; fast: all right, nothing calculated | Apache-2.0 |
| openai/grade-school-math (train), arkilpatel/SVAMP | slow: English word problems | MIT |
| XiaoMi/cmath (dev) | slow: Chinese word problems | CC BY 4.0 |
| openai/human-eval, google-research MBPP | slow: programming | MIT, CC BY 4.0 |
| Ayanami0730/deep_research_bench (half) | slow: research briefs | Apache-2.0 |
| lmarena/arena-hard-auto | slow: hard open questions | Apache-2.0 |
| ShishirPatil/gorilla BFCL | slow: tasks of several tool calls | Apache-2.0 |
| `router/training/seeds.jsonl`, written for this project | both, English and Chinese | Apache-2.0 |"""

_LIMITS = """\
- The labels say which kind of task a prompt is, not which of the two deployed models solves it: probabilities are of the kind, under equal shares of
  languages and lanes. On other traffic they are shifted; set the threshold by the slow share it gives there.
- Word problems are slow however easy they are. Free-form writing is learnt from few rows.
- Other languages than English and Chinese get the common calibration and little training.
- Only the newest message is read, of a long one only head and tail.
- Sources left out show what to expect of unseen traffic; the grouped folds are optimistic for it.
- Seed templates were added after looking at misses on BELLE, the briefs and everyday questions: those two sets' figures are somewhat optimistic.
- Nothing here follows the RouteLLM protocol; its prompts were not trained on."""


def render_card(summary: Summary) -> str:
    """The card as Markdown."""
    rows = summary["rows"]
    return "\n".join([
        "# Router artefact: linear",
        "",
        f"Version `{summary['version']}`. P(a request needs the slow lane) from hashed character n-grams, word pairs and "
        f"{summary['dense_features']} dense features; L2 logistic regression, Platt calibration per language shrunk to the common one. "
        "Written by `python -m router.training`; all numbers are in `metrics.json`.",
        "",
        "## Data",
        f"{rows['kept']} rows ({rows['repeated']} repeated and {rows['overlapping']} overlapping the RouteLLM halves by a 13-gram removed).",
        "",
        _DATA,
        "",
        "No row of these sets is shipped, only weights derived from them.",
        "",
        "## Unseen groups (five folds, groups kept together)",
        "AUROC, ECE (15 bins of equal weight) and Brier under the balancing weights; recall and false slows per row at threshold 0.5, "
        "with 95 % intervals.",
        "",
        _figures_table({"router": summary["unseen_groups"], **summary["baselines"]}),
        "",
        "## Unseen sources",
        "Share sent slow at threshold 0.5. Left out: by a model that saw nothing of the source. In folds: by one that saw other groups of it.",
        "",
        _sources_table(summary["sources_left_out"], summary["sources_in_folds"]),
        "",
        f"RouteLLM's GSM8K half, never trained on, all slow: {_share(summary['unseen_word_problems'])} sent slow.",
        "",
        "## Limits",
        _LIMITS,
        "",
    ])


def _figures_table(routers: Mapping[str, Mapping[str, Figures]]) -> str:
    lines = ["| router | language | AUROC | ECE | Brier | recall | false slow |", "|---|---|---|---|---|---|---|"]
    for name, languages in routers.items():
        lines.extend(
            f"| {name} | {language} | {one['auroc']:.3f} | {one['ece']:.3f} | {one['brier']:.3f} "
            f"| {_share(one['recall'])} | {_share(one['false_slow'])} |"
            for language, one in languages.items()
        )
    return "\n".join(lines)


def _sources_table(left_out: Mapping[str, Share], in_folds: Mapping[str, Share]) -> str:
    lines = ["| source / language / label | rows | left out | in folds |", "|---|---|---|---|"]
    lines.extend(
        f"| {name} | {share['rows']} | {_share(share)} | {_share(in_folds[name])} |" for name, share in left_out.items() if share["rows"] >= 10
    )
    return "\n".join(lines)


def _share(share: Share) -> str:
    return f"{share['share']:.3f} [{share['low']:.3f}, {share['high']:.3f}]"
