"""A data folder of a few rows, in the files and fields of the public sets."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

ASSISTANT = ["set an alarm for six", "what is the weather", "play some jazz", "call my mother", "how tall is the tower", "book a table for two"]
DIALOGUE = ["帮我找一家餐馆", "附近有景点吗", "酒店多少钱", "谢谢你的推荐", "地铁怎么走", "门票贵不贵"]
BRIEFS = [
    "Research the market for heat pumps in Europe, compare the main makers and write a report with sources.",
    "Analyse how ageing affects public finances in Japan until 2050 and propose reforms with their costs.",
    "深入调研国内氢能重卡的示范运营情况，分析成本与政策，并写一份详细的报告。",
    "请比较中德两国职业教育体系的差异，分析原因并提出可行的建议。",
]


def write_lines(path: Path, rows: Iterable[Mapping[str, object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def question(place: int) -> str:
    """The longer, the harder."""
    return f"Tom has {place} apples and buys {place + 2} more. " * (1 + place % 5) + "How many are there?"


def exam(place: int) -> dict[str, object]:
    """The weak model knows law better than physics."""
    prompt = f"Which law holds for {place}?\nA. one\nB. two\nAnswer:"
    return {"prompt": prompt, "subject": ("law", "physics")[place % 2], "weak": int(place % 2 == 0 or place % 3 == 0), "strong": 1}


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    routing = folder / "routing"
    write_lines(routing / "routellm_gsm8k_dev.jsonl", ({"prompt": question(n), "weak": int(n % 5 < 3), "strong": 1} for n in range(60)))
    write_lines(routing / "routellm_mmlu_dev.jsonl", (exam(n) for n in range(60)))
    write_lines(routing / "clinc150_train.jsonl", ({"text": text} for text in ASSISTANT))
    write_lines(routing / "banking77_train.jsonl", ({"text": f"where is my card number {n}"} for n in range(6)))
    write_lines(routing / "crosswoz_zh.jsonl", ({"text": text} for text in DIALOGUE))
    write_lines(routing / "belle_zh_eval_set.jsonl", ({"question": f"把这句话改写得更礼貌：请给我{n}个苹果"} for n in range(6)))
    write_lines(routing / "bfcl_user_turns.jsonl", ({"user_turns": [f"Book flight {n}, then a hotel, then a car."]} for n in range(6)))
    write_lines(routing / "arena_hard_v2_question.jsonl", ({"prompt": f"Write a parser for format {n}, with tests and a design."} for n in range(6)))
    write_lines(routing / "deep_research_briefs_dev.jsonl", ({"prompt": text} for text in BRIEFS))
    write_lines(folder / "reasoning" / "cmath_dev.jsonl", ({"input": f"小明有{n}个苹果，又买了3个，现在有多少个？"} for n in range(6)))
    return folder
