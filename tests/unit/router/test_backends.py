import json
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from router.backends import RAW, QuestionScorer, ScorerCalibration, load_scorer_calibration
from router.backends.calibration import FOLDER, QUESTIONS_VERSION, calibration_path, raw_calibration
from router.backends.questions import CAREFUL, INTENT, INTENTS, TOOLS, ask_of
from router.evaluation.backends import Asked, draw, figures_of, table
from router.training.rows import Row
from tandem.errors import ModelBadResponse, ModelUnavailable, RouterArtifactInvalid
from tandem.ports import Scorer, Turns
from tandem.schemas.questions import AnswerSet, Question, QuestionAnswer, QuestionSet
from tandem.schemas.routing import Decision

Judge = Callable[[Question], list[float]]


class Judging:
    """A decision model that answers each question by a function."""

    name = "judge"

    def __init__(self, judge: Judge, calibration: str = "none") -> None:
        self._judge = judge
        self._calibration = calibration
        self.asked: list[QuestionSet] = []
        self.is_closed = False

    async def answer(self, asked: QuestionSet) -> AnswerSet:
        self.asked.append(asked)
        told = [(question, self._judge(question)) for question in asked.questions]
        answers = [QuestionAnswer(name=question.name, kind=question.kind, probabilities=each, is_refused=not each) for question, each in told]
        return AnswerSet(model=self.name, calibration=self._calibration, answers=answers)

    async def close(self) -> None:
        self.is_closed = True


def fitted(**changes: object) -> ScorerCalibration:
    fields = {
        "version": "q1",
        "model": "judge",
        "questions_version": QUESTIONS_VERSION,
        "answers_calibration": "readout-1",
        "rows": 100,
        "overall": {"slope": 1, "offset": 0},
        "by_language": {"zh": {"slope": 2, "offset": 1}},
    }
    return ScorerCalibration.model_validate(fields | changes)


async def test_without_a_calibration_p_slow_is_the_models_own_word() -> None:
    scorer: Scorer = QuestionScorer(Judging(lambda _: [0.8, 0.2]), raw_calibration("judge"))
    score = await scorer.score(Turns(text="Prove it"))
    assert score.p_slow == pytest.approx(0.8)
    assert score.contributions[0][0] == CAREFUL
    assert scorer.version == f"judge/{RAW}"


async def test_each_language_has_its_own_map_and_is_asked_in_its_own_words() -> None:
    model = Judging(lambda _: [0.5, 0.5], "readout-1")
    scorer = QuestionScorer(model, fitted())
    english, chinese = await scorer.score(Turns(text="Hello there")), await scorer.score(Turns(text="写一份完整的研究报告"))
    assert english.p_slow == pytest.approx(0.5)
    assert chinese.p_slow == pytest.approx(0.731, abs=0.001)
    assert [asked.questions[0].instructions for asked in model.asked] == ["Does this request need careful work?", "这个请求是否需要仔细处理？"]


async def test_certain_answers_stay_probabilities() -> None:
    for certain in ([1.0, 0.0], [0.0, 1.0]):
        score = await QuestionScorer(Judging(lambda _, certain=certain: certain, "readout-1"), fitted()).score(Turns(text="Hi"))
        assert 0 <= score.p_slow <= 1
        assert score.p_slow == pytest.approx(certain[0], abs=1e-5)


async def test_answers_under_another_calibration_than_the_fitted_one_are_not_used() -> None:
    with pytest.raises(ModelUnavailable, match="fit it again"):
        await QuestionScorer(Judging(lambda _: [0.5, 0.5], "readout-2"), fitted()).score(Turns(text="Hi"))


async def test_a_refusal_is_no_score() -> None:
    with pytest.raises(ModelBadResponse, match="careful work"):
        await QuestionScorer(Judging(lambda _: []), raw_calibration("judge")).score(Turns(text="Hi"))


async def test_a_decision_model_is_also_asked_for_tools_and_intent() -> None:
    def judge(question: Question) -> list[float]:
        if question.name == INTENT:
            return [0.6 if option.value == "research" else 0.4 / 7 for option in question.options]
        return [0.9, 0.1] if question.name == TOOLS else [0.3, 0.7]

    model = Judging(judge)
    score = await QuestionScorer(model, raw_calibration("judge"), asks_more=True).score(Turns(text="Hi"))
    assert (score.p_slow, score.p_tools, score.intent) == (pytest.approx(0.3), 0.9, "research")
    assert [question.name for question in model.asked[0].questions] == [CAREFUL, TOOLS, INTENT]


async def test_what_is_refused_beside_the_score_is_left_open() -> None:
    score = await QuestionScorer(
        Judging(lambda question: [0.5, 0.5] if question.name == CAREFUL else []), raw_calibration("judge"), asks_more=True
    ).score(Turns(text="Hi"))
    assert (score.p_tools, score.intent) == (None, None)


async def test_a_scorer_closes_its_model() -> None:
    model = Judging(lambda _: [0.5, 0.5])
    await QuestionScorer(model, raw_calibration("judge")).close()
    assert model.is_closed


def test_of_a_long_message_head_and_tail_are_shown() -> None:
    state = ask_of("begin" + "x" * 50_000 + "end").state
    assert isinstance(state, str)
    assert state.startswith("begin")
    assert state.endswith("end")
    assert len(state) < 1_000


def test_a_calibration_is_found_by_its_model_and_not_used_for_other_questions(tmp_path: Path) -> None:
    path = calibration_path("a/judge", tmp_path)
    path.write_text(fitted(model="a/judge").model_dump_json(), encoding="utf-8")
    assert load_scorer_calibration("a/judge", tmp_path).version == "q1"
    assert load_scorer_calibration("judge", tmp_path).version == RAW
    path.write_text(fitted(model="a/judge", questions_version=QUESTIONS_VERSION + 1).model_dump_json(), encoding="utf-8")
    assert load_scorer_calibration("a/judge", tmp_path).version == RAW


@pytest.mark.parametrize("content", ["{", '{"format": 2}', fitted().model_dump_json().replace('"slope":1.0', '"slope":-1.0')])
def test_a_damaged_calibration_is_named_with_the_remedy(tmp_path: Path, content: str) -> None:
    calibration_path("judge", tmp_path).write_text(content, encoding="utf-8")
    with pytest.raises(RouterArtifactInvalid, match=r"judge\.json.*router\.evaluation\.backends"):
        load_scorer_calibration("judge", tmp_path)


@pytest.mark.parametrize("path", sorted(path for path in FOLDER.glob("*.json") if not path.stem.endswith(".results")), ids=lambda path: path.stem)
def test_a_shipped_calibration_fits_the_present_questions(path: Path) -> None:
    calibration = ScorerCalibration.model_validate_json(path.read_bytes())
    assert load_scorer_calibration(calibration.model).version == calibration.version


def rows_of(count: int) -> list[Row]:
    return [
        Row(text=f"{source} {at}", label=label, language=language, source=source, group=f"{source}:{at}")
        for language in ("en", "zh")
        for label in (0, 1)
        for source in ("big", "small")
        for at in range(count if source == "big" else 3)
    ]


def test_rows_are_drawn_alike_from_languages_lanes_and_sources() -> None:
    drawn = draw(rows_of(50), 10, random.Random(1))  # noqa: S311 - a reproducible draw
    cells = {
        (language, label): [row for row in drawn if (row.language, row.label) == (language, label)] for language in ("en", "zh") for label in (0, 1)
    }
    assert {len(rows) for rows in cells.values()} == {10}
    assert all(sum(row.source == "small" for row in rows) == 3 for rows in cells.values())


def test_figures_tell_a_backend_that_knows_from_one_that_does_not() -> None:
    rows = draw(rows_of(60), 60, random.Random(1))  # noqa: S311 - a reproducible draw
    noise = np.random.default_rng(1)
    labels = np.array([float(row.label == 1) for row in rows])
    seconds = np.full(len(rows), 0.002)
    knowing = figures_of(Asked(noise.normal(2 * labels - 1, 1), seconds), rows)
    guessing = figures_of(Asked(noise.normal(0, 1, len(rows)), seconds), rows)
    assert knowing["all"]["auroc"] > 0.8 > 0.65 > guessing["all"]["auroc"]
    assert knowing["p50_ms"] == pytest.approx(2)
    low, high = knowing["en"]["auroc_interval"]
    assert low < knowing["en"]["auroc"] < high
    shown = table({"backends": {"linear": knowing, "judge": guessing}})
    assert shown.count("\n") == 7
    assert json.loads(json.dumps(knowing)) == knowing


def test_every_intent_of_a_decision_can_be_answered() -> None:
    assert set(INTENTS) == set(Decision.model_json_schema()["properties"]["intent"]["anyOf"][0]["enum"])
