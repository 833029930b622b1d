"""Writes the artefact's card from its metrics, so that no number in it is typed by hand."""

from collections.abc import Mapping

from router.training.evaluation import Figures, GainFigures, HeadFigures
from router.training.metrics import Share
from router.training.protocol import Interval
from router.training.summary import Summary

_DATA = """\
| source | label | licence |
|---|---|---|
| clinc/oos-eval (CLINC150) | fast: assistant intents | CC BY 3.0 |
| PolyAI task-specific-datasets (BANKING77) | fast: support intents | CC BY 4.0 |
| thu-coai/CrossWOZ user turns | fast: Chinese task dialogue | Apache-2.0 |
| LianjiaTech/BELLE evaluation set | fast: questions, rewriting, extraction; slow: mathematics, code | Apache-2.0 / ODC-By |
| TIGER-AI-Lab/MMLU-Pro evaluation results | slow: at most two of six small models right; fast: all right, nothing calculated; outcomes | Apache-2.0 |
| lm-sys/RouteLLM, half of MMLU and of GSM8K | no lane: outcomes of Mixtral 8x7B and GPT-4 | Apache-2.0 |
| openai/grade-school-math (train), arkilpatel/SVAMP | slow: English word problems | MIT |
| XiaoMi/cmath (dev) | slow: Chinese word problems | CC BY 4.0 |
| openai/human-eval, google-research MBPP | slow: programming | MIT, CC BY 4.0 |
| Ayanami0730/deep_research_bench (half) | slow: research briefs | Apache-2.0 |
| lmarena/arena-hard-auto | slow: hard open questions | Apache-2.0 |
| ShishirPatil/gorilla BFCL | slow: tasks of several tool calls | Apache-2.0 |
| `router/training/seeds.jsonl`, written for this project | both, English and Chinese | Apache-2.0 |"""

_MEANING = """\
- `p_slow`: P(an ask of this kind belongs in the slow lane), where fast and slow asks are equally frequent in each language. It says what kind of ask
  it is; within exam questions and within word problems it also ranks by how much a stronger model gained on a weaker one, which moves it by less
  than a change of kind does. Labels of the deployed pair (`--labels`) shift it towards that pair.
- `p_fast_fails`: P(a small open model's answer is wrong). From outcomes of Mixtral 8x7B and of six models of 4 to 47 billion parameters where there
  are any; otherwise from the kind of ask: small talk and assistant commands never fail it, research briefs and hard open questions always do, and
  word problems without an outcome fail it as often as RouteLLM's GSM8K half does. In Chinese nothing but the kind is known.
- `p_slow_fixes`: P(a strong model is right | the small one is wrong), from the same outcomes, all English.
- `p_tools`: P(the task needs tools): BFCL and research briefs against exam questions, word problems, code and writing.
- A re-ask or displeasure after a fast answer adds log-odds that are set, not fitted: no public set tells what became of them."""

_LIMITS = """\
- The lane labels say which kind of task a prompt is, not which of the two deployed models solves it. On other traffic the probabilities are shifted;
  set the threshold by the slow share it gives there.
- Word problems are slow however easy they are. Free-form writing is learnt from few rows.
- Other languages than English and Chinese get the common calibration and little training.
- Only the ask of the newest message is read, of a long one only head and tail.
- Sources left out show what to expect of unseen traffic; the grouped folds are optimistic for it.
- Seed templates were added after looking at misses on BELLE, CrossWOZ, the briefs and everyday questions: those sets' figures are a little too
  good.
- The exam and word problem gains were learnt from RouteLLM's halves, so the shipped artefact must not be judged on these; the figures above are of
  folds. Penalty, smoothing and step weight were chosen on the same folds.
- No static multilingual embedding table: none could be distilled and judged without its teacher's weights at hand."""


def render_card(summary: Summary) -> str:
    """The card as Markdown."""
    rows = summary["rows"]
    return "\n".join([
        "# Router artefact: linear",
        "",
        f"Version `{summary['version']}`. Linear heads over hashed character n-grams, word pairs and {summary['dense_features']} dense features: L2 "
        "logistic regression for the kind of ask, failure, repair, tools and intent, ridge regression for the gain of the stronger model; Platt "
        "calibration per language shrunk to the common one. "
        "Written by `python -m router.training`; all numbers are in `metrics.json`.",
        "",
        "## Data",
        f"{rows['kept']} rows, {rows['labels']} of them labels of the deployed pair ({rows['repeated']} repeated and {rows['overlapping']} "
        f"overlapping the RouteLLM halves by a 13-gram removed), and {rows['copies']} copies with slips, polite words and other punctuation.",
        "",
        _DATA,
        "",
        "No row of these sets is shipped, only weights derived from them.",
        "",
        "## What the probabilities mean",
        _MEANING,
        "",
        "## Unseen groups (five folds, groups kept together)",
        "AUROC, ECE (15 bins of equal weight) and Brier under the balancing weights; recall and false slows per row at threshold 0.5, "
        "with 95 % intervals.",
        "",
        _figures_table({"router": summary["unseen_groups"], **summary["baselines"]}),
        "",
        "## Other probabilities (unseen groups)",
        "Outcomes that are shares of models count as that share.",
        "",
        _heads_table(summary["heads"]),
        "",
        "Intents recognised in unseen groups: " + ", ".join(f"{name} {_share(share)}" for name, share in summary["intents"].items()) + ".",
        "",
        "## RouteLLM's protocol (its halves given to this project, ranked by p_slow)",
        "In folds: gain heads learnt from the other four folds. No pair labels: the kind of ask alone, which saw no row of the set. With 95 % "
        "bootstrap intervals; CPT in percent of calls.",
        "",
        _gains_table(summary["gains"]),
        "",
        "## Unseen sources",
        "Share sent slow at threshold 0.5. Left out: by a model that saw nothing of the source. In folds: by one that saw other groups of it.",
        "",
        _sources_table(summary["sources_left_out"], summary["sources_in_folds"]),
        "",
        f"RouteLLM's GSM8K half, whose lane is never trained on, all slow: {_share(summary['unseen_word_problems'])} sent slow.",
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


def _heads_table(heads: Mapping[str, Mapping[str, HeadFigures]]) -> str:
    lines = ["| probability | language | rows | AUROC | ECE | Brier |", "|---|---|---|---|---|---|"]
    for head, languages in heads.items():
        lines.extend(
            f"| {head} | {language} | {one['rows']} | {one['auroc']:.3f} | {one['ece']:.3f} | {one['brier']:.3f} |"
            for language, one in languages.items()
        )
    return "\n".join(lines)


def _gains_table(gains: Mapping[str, GainFigures]) -> str:
    lines = ["| set | router | rows | APGR | CPT50 | CPT80 |", "|---|---|---|---|---|---|"]
    for name, figures in gains.items():
        rows = {"in folds": figures["in_folds"], "no pair labels": figures["no_pair_labels"], "length only": figures["length_only"]}
        lines.extend(
            f"| {name} | {router} | {one['rows']} | {_interval(one['apgr'], 3)} | {_interval(one['cpt']['50'], 1)} "
            f"| {_interval(one['cpt']['80'], 1)} |"
            for router, one in rows.items()
        )
        if figures["gold_labels"]:
            seeds = figures["gold_labels"]
            lines.append(
                f"| {name} | 1,500 gold labels, mean and range of {len(seeds)} draws | - "
                f"| {sum(seeds) / len(seeds):.3f} [{min(seeds):.3f}, {max(seeds):.3f}] | - | - |"
            )
    return "\n".join(lines)


def _interval(one: Interval, digits: int) -> str:
    return f"{one['value']:.{digits}f} [{one['low']:.{digits}f}, {one['high']:.{digits}f}]"


def _sources_table(left_out: Mapping[str, Share], in_folds: Mapping[str, Share]) -> str:
    lines = ["| source / language / label | rows | left out | in folds |", "|---|---|---|---|"]
    lines.extend(
        f"| {name} | {share['rows']} | {_share(share)} | {_share(in_folds[name])} |" for name, share in left_out.items() if share["rows"] >= 10
    )
    return "\n".join(lines)


def _share(share: Share) -> str:
    return f"{share['share']:.3f} [{share['low']:.3f}, {share['high']:.3f}]"
