"""``python -m fast_model.calibrate --data DIR --url URL --model NAME``: fit the temperatures of a served model's read-out probabilities.

Asks the model labelled questions of each kind, half in English and half in Chinese, fits one temperature per kind, and writes the calibration file.
The figures in it are cross-fitted: each row is judged at a temperature fitted without it. Every prompt is one request: minutes on a CPU.
"""

import argparse
import asyncio
import json
import math
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, get_args

from fast_model.question_prompts import PROMPT_VERSION
from fast_model.readout import ReadoutModel
from fast_model.readout_calibration import (
    FOLDER,
    FittedTemperature,
    ReadoutCalibration,
    fit_temperature,
    mean_loss,
    raw_calibration,
    tempered,
)
from tandem.models import Endpoint, OpenAIChatModel
from tandem.schemas.questions import Option, Question, QuestionKind, QuestionSet

SOURCES: Final = [
    "clinc/oos-eval (CLINC150, CC BY 3.0): intents of English requests",
    "LianjiaTech/BELLE evaluation set (ODC-By): classes of Chinese instructions",
    "TIGER-AI-Lab/MMLU-Pro evaluation results (Apache-2.0): how many of twelve models are right",
    "XiaoMi/cmath dev (CC BY 4.0): school grades of Chinese word problems",
]
OPTIONS: Final = 6
ECE_BINS: Final = 10
SEED: Final = 7
_CLASSES: Final = {
    "open qa": "开放问答",
    "brainstorming": "头脑风暴",
    "rewrite": "改写",
    "math": "数学",
    "classification": "分类",
    "closed qa": "阅读理解问答",
    "summarization": "摘要",
    "extract": "信息抽取",
    "code": "编程",
}
_GRADES: Final = [f"小学{grade}年级" for grade in "一二三四五六"]
_MODELS: Final = 12
_HARDNESS: Final = ["easy: most models answer it", "medium: about half of them do", "hard: few of them do"]


@dataclass(frozen=True, slots=True)
class Labelled:
    """A question whose right option is known."""

    state: str
    question: Question
    label: int


def main(arguments: Sequence[str] | None = None) -> int:
    """Fit and write the file."""
    parser = argparse.ArgumentParser(prog="python -m fast_model.calibrate", description="Fit the temperatures of a model's read-out probabilities.")
    parser.add_argument("--data", type=Path, required=True, help="folder of the public sets")
    parser.add_argument("--url", required=True, help="base URL of the model's server, with /v1")
    parser.add_argument("--model", required=True, help="name the server knows the model by")
    parser.add_argument("--rows", type=int, default=80, help="rows per kind of question and language")
    parser.add_argument("--version", default=f"readout-{PROMPT_VERSION}")
    parser.add_argument("--out", type=Path, default=FOLDER)
    options = parser.parse_args(arguments)
    calibration = asyncio.run(calibrate(options.data, options.url, options.model, options.rows, options.version))
    path = options.out / f"{options.model.replace('/', '--')}.json"
    path.write_text(json.dumps(calibration.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    sys.stderr.write(f"wrote {path}\n")
    return 0


async def calibrate(data: Path, url: str, model: str, count: int, version: str) -> ReadoutCalibration:
    """Ask, fit, and judge."""
    chat = OpenAIChatModel(Endpoint(url=url, model=model))
    readout = ReadoutModel(chat, raw_calibration(model), context_tokens=4_096, timeout_s=600)
    temperatures: dict[QuestionKind, FittedTemperature] = {}
    try:
        for kind in get_args(QuestionKind):
            rows = labelled_rows(data, kind, count, random.Random(SEED))  # noqa: S311 - draws rows, the same ones each time
            logits, labels = await _asked(readout, rows)
            figures = fitted(logits, labels)
            sys.stderr.write(f"{kind}: {figures!r}\n")
            if figures.loss_after < figures.loss_before:
                temperatures[kind] = figures
            else:
                sys.stderr.write(f"{kind}: no temperature helps on rows it was not fitted on; its probabilities stay as they are\n")
    finally:
        await chat.close()
    return ReadoutCalibration(version=version, model=model, prompt_version=PROMPT_VERSION, temperatures=temperatures, sources=SOURCES)


def fitted(logits: Sequence[Sequence[float]], labels: Sequence[int]) -> FittedTemperature:
    """The temperature of all rows, and figures of each half at the temperature of the other."""
    halves = [[row for row in range(len(labels)) if row % 2 == side] for side in (0, 1)]
    cooled: list[list[float]] = [[] for _ in labels]
    for seen, unseen in (halves, reversed(halves)):
        temperature = fit_temperature([logits[row] for row in seen], [labels[row] for row in seen])
        for row in unseen:
            cooled[row] = tempered(logits[row], temperature)
    raw = [tempered(row, 1.0) for row in logits]
    return FittedTemperature(
        temperature=round(fit_temperature(logits, labels), 4),
        rows=len(labels),
        loss_before=round(mean_loss(logits, labels, 1.0), 4),
        loss_after=round(sum(-math.log(max(row[label], 1e-12)) for row, label in zip(cooled, labels, strict=True)) / len(labels), 4),
        ece_before=round(top_calibration_error(raw, labels), 4),
        ece_after=round(top_calibration_error(cooled, labels), 4),
        accuracy=round(sum(row.index(max(row)) == label for row, label in zip(raw, labels, strict=True)) / len(labels), 4),
    )


def top_calibration_error(probabilities: Sequence[Sequence[float]], labels: Sequence[int]) -> float:
    """Expected calibration error of the likeliest option, over bins of equal size."""
    tops = sorted((max(row), row.index(max(row)) == label) for row, label in zip(probabilities, labels, strict=True))
    borders = [len(tops) * at // ECE_BINS for at in range(ECE_BINS + 1)]
    gaps = (abs(sum(p - is_right for p, is_right in tops[start:end])) for start, end in pairwise(borders))
    return sum(gaps) / len(tops)


def labelled_rows(data: Path, kind: QuestionKind, count: int, randomness: random.Random) -> list[Labelled]:
    """``count`` rows in English and as many in Chinese, mixed."""
    if kind == "score":
        rows = [*_drawn(_difficulties(data), count, randomness), *_drawn(_grades(data), count, randomness)]
    else:
        english = _drawn(_lines(data / "routing" / "clinc150_train.jsonl"), count, randomness)
        chinese = _drawn([row for row in _lines(data / "routing" / "belle_zh_eval_set.jsonl") if _class(row) in _CLASSES], count, randomness)
        intents = sorted({str(row["intent"]).replace("_", " ") for row in _lines(data / "routing" / "clinc150_train.jsonl")} - {"oos"})
        known = [(str(row["text"]), str(row["intent"]).replace("_", " ")) for row in english if row["intent"] != "oos"]
        rows = [_one_of(text, intent, intents, kind, "en", randomness) for text, intent in known]
        rows += [_one_of(str(row["question"]), _CLASSES[_class(row)], list(_CLASSES.values()), kind, "zh", randomness) for row in chinese]
    randomness.shuffle(rows)
    return rows


def _one_of(text: str, right: str, names: Sequence[str], kind: QuestionKind, language: str, randomness: random.Random) -> Labelled:
    """Which of six it is; or, of a noul, whether it is the right one or another."""
    others = randomness.sample([name for name in names if name != right], OPTIONS - 1)
    if kind == "noul":
        is_right = randomness.random() < 0.5
        claimed = right if is_right else others[0]
        asked = f"Is this request about “{claimed}”?" if language == "en" else f"这个任务属于“{claimed}”吗？"
        return Labelled(text, Question(kind="noul", instructions=asked), 0 if is_right else 1)
    options = [right, *others]
    randomness.shuffle(options)
    asked = "What is this request about?" if language == "en" else "这是哪一类任务？"
    return Labelled(text, Question(kind="choice", instructions=asked, options=[Option(value=option) for option in options]), options.index(right))


def _difficulties(data: Path) -> list[Labelled]:
    question = Question(kind="score", instructions="How hard is this question?", options=[Option(value=level) for level in _HARDNESS])
    rows: list[Labelled] = []
    for record in _lines(data / "routing" / "mmlu_pro_outcomes.jsonl"):
        right = sum(map(bool, record["correct"].values()))
        rows.append(Labelled(str(record["question"]), question, min(2, (_MODELS - right) * 3 // (_MODELS + 1))))
    return rows


def _grades(data: Path) -> list[Labelled]:
    question = Question(kind="score", instructions="这道题适合哪个年级？", options=[Option(value=grade) for grade in _GRADES])
    return [Labelled(str(row["input"]), question, int(row["grade"]) - 1) for row in _lines(data / "reasoning" / "cmath_dev.jsonl")]


def _class(row: dict[str, Any]) -> str:
    return str(row["class"]).replace("\xa0", " ")


def _drawn(rows: Sequence[Any], count: int, randomness: random.Random) -> list[Any]:
    return randomness.sample(list(rows), min(count, len(rows)))


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


async def _asked(readout: ReadoutModel, rows: Sequence[Labelled]) -> tuple[list[list[float]], list[int]]:
    """Log-probabilities of the options, and the right ones; questions the model refused are left out."""
    logits: list[list[float]] = []
    labels: list[int] = []
    for done, row in enumerate(rows, 1):
        answer = (await readout.answer(QuestionSet(state=row.state, questions=[row.question]))).answers[0]
        if not answer.is_refused:
            logits.append([math.log(max(probability, 1e-12)) for probability in answer.probabilities])
            labels.append(row.label)
        if done % 20 == 0:
            sys.stderr.write(f"  {done} of {len(rows)}\n")
    return logits, labels


if __name__ == "__main__":
    sys.exit(main())
