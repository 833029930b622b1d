"""The training command on a small folder of made-up rows beside the project's own seeds."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from router.artifacts import load_classifier
from router.training.__main__ import main, train
from router.training.sources import LARGE_MODELS, SMALL_MODELS
from tandem.ports import Turns

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

CHINESE = "云山水火天地风雷花鸟鱼虫"


def write(path: Path, records: Sequence[Mapping[str, object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(json.dumps(record, ensure_ascii=False) for record in records), encoding="utf-8")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    routing, reasoning = folder / "routing", folder / "reasoning"
    some = range(12)
    write(routing / "clinc150_train.jsonl", [{"text": f"play song number {n}", "intent": f"music{n % 3}"} for n in some])
    write(routing / "banking77_train.jsonl", [{"text": f"where is card {n}", "intent": f"card{n % 3}"} for n in some])
    write(routing / "crosswoz_zh.jsonl", [{"text": f"附近有{CHINESE[n]}餐馆吗", "dialogue": f"{n % 3}"} for n in some])
    kinds = ["open qa", "closed\xa0qa", "math", "code", "generation"]
    write(routing / "belle_zh_eval_set.jsonl", [{"question": f"{CHINESE[n]}是什么", "class": kinds[n % 5]} for n in some])
    outcomes = [dict.fromkeys((*SMALL_MODELS, *LARGE_MODELS), right) for right in (0, 1)]
    options = ["one", "two"]
    write(
        routing / "mmlu_pro_outcomes.jsonl",
        [
            {"question": f"Why does law {'abcdefghijkl'[n]} hold?", "options": options, "category": "law", "src": f"s{n}", "correct": outcomes[n % 2]}
            for n in some
        ],
    )
    write(routing / "humaneval_humaneval.jsonl", [{"prompt": "def f(x):\n    pass\n", "task_id": "H/0"}])
    write(routing / "deep_research_briefs_dev.jsonl", [{"prompt": "Investigate the market of kites.", "id": 1}])
    write(
        routing / "arena_hard_v01_question.jsonl", [{"prompt": "How do I detect lines?", "category": "arena-hard-v0.1", "cluster": "c", "uid": "1"}]
    )
    write(routing / "arena_hard_v2_question.jsonl", [{"prompt": "A poem.", "category": "creative_writing", "uid": "2"}])
    write(
        routing / "bfcl_user_turns.jsonl",
        [{"user_turns": ["Move the file, " * 20], "category": "parallel"}, {"user_turns": [], "category": "parallel"}],
    )
    write(
        routing / "routellm_gsm8k_dev.jsonl",
        [{"prompt": f"Tom has {n} apples and buys {n + 2}. How many has he?", "weak": n % 2, "strong": 1} for n in some],
    )
    write(
        routing / "routellm_mmlu_dev.jsonl",
        [
            {
                "prompt": f"Why does {word} {CHINESE[n]} hold?\nA. one\nB. two\nC. three\nD. four\nAnswer:",
                "subject": word,
                "weak": int(word == "law"),
                "strong": 1,
            }
            for n in some
            for word in ("law", "virology")
        ]
        + [{"prompt": "Why does law a hold?", "subject": "law", "weak": 1, "strong": 1}],
    )
    write(
        reasoning / "gsm8k_train.jsonl",
        [{"question": f"Ann has {n} pears and eats 2. How many are left?", "answer": f"<<{n}-2=0>>" * (1 + n % 3)} for n in some],
    )
    write(reasoning / "cmath_dev.jsonl", [{"input": f"小{CHINESE[n]}有{n}个梨，吃了2个，还剩几个？"} for n in some])
    write(reasoning / "mbpp_dev.jsonl", [{"text": "Write a function to add.", "task_id": 1}])
    (reasoning / "svamp.json").write_text(json.dumps([{"Body": "Jo had 3 figs.", "Question": "How many now?", "ID": "c1"}]), encoding="utf-8")
    return folder


def test_training_is_reproducible_and_writes_all_it_promises(data: Path, tmp_path: Path) -> None:
    messages: list[str] = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        summary = train(data, tmp_path / name, version="tiny", seed=1, most_per_source=60, report=messages.append)
    first, second = ({file.name: file.read_bytes() for file in (tmp_path / name).iterdir()} for name in ("first", "second"))
    assert first == second
    assert set(first) == {"linear.json", "linear.npz", "metrics.json", "CARD.md"}
    assert summary["rows"]["overlapping"] >= 1
    assert summary["unseen_groups"]["all"]["auroc"] > 0.8 > summary["baselines"]["random"]["all"]["auroc"]
    assert any("without seeds" in message for message in messages)
    assert summary["gains"]["mmlu"]["in_folds"]["apgr"]["value"] > 0.7
    assert summary["rows"]["copies"] > 0
    classifier = load_classifier(tmp_path / "first" / "linear.json")
    easy, hard = "play song number 20", "Ann has 20 pears and eats 2. How many are left?"
    assert classifier.score(Turns(text=easy)).p_slow < 0.5 < classifier.score(Turns(text=hard)).p_slow


def test_labels_of_the_deployed_pair_change_the_lane(data: Path, tmp_path: Path) -> None:
    asked = "play song number 20"
    (tmp_path / "labels.jsonl").write_text(
        "\n".join(json.dumps({"text": f"play song number {n}", "fast_score": 0.0, "slow_score": 1.0}) for n in range(20, 60)), encoding="utf-8"
    )
    options = ["--data", str(data), "--out", str(tmp_path / "out"), "--most-per-source", "50", "--labels", str(tmp_path / "labels.jsonl")]
    main(options)
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["rows"]["labels"] == 40
    score = load_classifier(tmp_path / "out" / "linear.json").score(Turns(text=asked))
    assert score.p_slow > 0.5
    assert score.p_fast_fails is not None
    assert score.p_fast_fails > 0.5


def test_a_folder_without_data_is_refused_with_its_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--data", str(tmp_path)])
    assert f"{str(tmp_path)!r} holds no folder routing/" in capsys.readouterr().err
