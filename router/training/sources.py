"""Reads the public sets of a data folder into labelled rows. One function per set; the label rule of each is its docstring.

Only what is derived from these rows is shipped; the rows themselves are not.
"""

import json
import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias, cast

from router.training.rows import Row, make_row, seed_rows

Record: TypeAlias = dict[str, Any]
Reader: TypeAlias = Callable[[Path, random.Random], Iterator[Row]]

SMALL_MODELS: Final = (
    "Meta-Llama-3_1-8B-Instruct",
    "Phi-3-mini-4k-instruct",
    "Qwen1.5-7B-Chat",
    "Mistral-7B-Instruct-v0.2",
    "Yi-6b-Chat",
    "Mixtral-8x7B-Instruct-v0.1",
)
_CALCULATING: Final = frozenset({"math", "physics", "chemistry", "engineering", "computer science", "economics", "business"})
_BELLE_FAST: Final = frozenset({"open qa", "brainstorming", "rewrite", "classification", "closed qa", "summarization", "extract"})
_BELLE_SLOW: Final = frozenset({"math", "code"})
_BRIEF_CHARS: Final = 120
_BFCL_SEVERAL_STEPS: Final = ("multi_turn_base", "multi_turn_composite", "multi_turn_long_context", "parallel", "parallel_multiple", "web_search")


def read_rows(folder: Path, randomness: random.Random, *, most_per_source: int) -> Iterator[tuple[str, list[Row]]]:
    """Every source's rows, at most ``most_per_source`` each, drawn by whole shuffles."""
    for source, reader in READERS.items():
        rows = list(reader(folder, randomness))
        randomness.shuffle(rows)
        yield source, rows[:most_per_source]


def scored_texts(folder: Path) -> Iterator[str]:
    """Prompts of the benchmark halves that later judge the router: nothing like them may be trained on."""
    for name in ("routellm_gsm8k_dev", "routellm_mmlu_dev"):
        yield from (str(record["prompt"]) for record in _lines(folder / "routing" / f"{name}.jsonl"))


def unseen_word_problems(folder: Path) -> list[Row]:
    """The held-out English word problems: all slow, never trained on."""
    return [make_row(record["prompt"], "slow", "routellm_gsm8k_dev", index) for index, record in enumerate(_routing(folder, "routellm_gsm8k_dev"))]


def _clinc(folder: Path, randomness: random.Random) -> Iterator[Row]:
    """Assistant intents: fast. Some rows join two or three utterances of an intent, so that fast is not only short."""
    records = _routing(folder, "clinc150_train")
    yield from (make_row(record["text"], "fast", "clinc150", record["intent"]) for record in records)
    yield from _joined(_by_key(records, "intent"), "clinc150", ". ", 400, randomness)


def _banking(folder: Path, _randomness: random.Random) -> Iterator[Row]:
    """Support intents: fast."""
    yield from (make_row(record["text"], "fast", "banking77", record["intent"]) for record in _routing(folder, "banking77_train"))


def _crosswoz(folder: Path, randomness: random.Random) -> Iterator[Row]:
    """Chinese task dialogue: fast. Some rows join neighbouring turns of a dialogue."""
    records = _routing(folder, "crosswoz_zh")
    yield from (make_row(record["text"], "fast", "crosswoz", record["dialogue"]) for record in records)
    yield from _joined(_by_key(records, "dialogue"), "crosswoz", "", 400, randomness)


def _belle(folder: Path, _randomness: random.Random) -> Iterator[Row]:
    """Chinese instructions: questions, rewriting, extraction fast; mathematics and code slow; free generation is left out as it may be either."""
    for index, record in enumerate(_routing(folder, "belle_zh_eval_set")):
        kind = str(record["class"]).replace("\xa0", " ")
        if kind in _BELLE_FAST:
            yield make_row(record["question"], "fast", "belle", index)
        elif kind in _BELLE_SLOW:
            yield make_row(record["question"], "slow", "belle", index)


def _mmlu_pro(folder: Path, _randomness: random.Random) -> Iterator[Row]:
    """Slow where at most two of six small models are right; fast where all are and nothing is calculated. Every other row shows its options."""
    for index, record in enumerate(_routing(folder, "mmlu_pro_outcomes")):
        right = sum(record["correct"][model] for model in SMALL_MODELS)
        is_easy = right == len(SMALL_MODELS) and record["category"] not in _CALCULATING
        if not is_easy and right > 2:
            continue
        options = "\n".join(f"{chr(65 + place)}. {option}" for place, option in enumerate(record["options"]))
        text = f"{record['question']}\n{options}" if index % 2 else str(record["question"])
        yield make_row(text, "fast" if is_easy else "slow", "mmlu_pro", record["src"])


def _gsm8k(folder: Path, _randomness: random.Random) -> Iterator[Row]:
    """English word problems: slow."""
    for index, record in enumerate(_lines(folder / "reasoning" / "gsm8k_train.jsonl")):
        yield make_row(record["question"], "slow", "gsm8k", index)


def _svamp(folder: Path, _randomness: random.Random) -> Iterator[Row]:
    """Short English word problems: slow."""
    for record in cast(list[Record], json.loads((folder / "reasoning" / "svamp.json").read_bytes())):
        yield make_row(f"{str(record['Body']).rstrip('. ')}. {record['Question']}", "slow", "svamp", record["ID"])


def _cmath(folder: Path, _randomness: random.Random) -> Iterator[Row]:
    """Chinese word problems: slow."""
    for index, record in enumerate(_lines(folder / "reasoning" / "cmath_dev.jsonl")):
        yield make_row(record["input"], "slow", "cmath", index)


def _code(folder: Path, _randomness: random.Random) -> Iterator[Row]:
    """Programming tasks: slow."""
    for record in _routing(folder, "humaneval_humaneval"):
        yield make_row(record["prompt"], "slow", "code", record["task_id"])
    for record in _lines(folder / "reasoning" / "mbpp_dev.jsonl"):
        yield make_row(record["text"], "slow", "code", record["task_id"])


def _briefs(folder: Path, _randomness: random.Random) -> Iterator[Row]:
    """Deep-research briefs, English and Chinese: slow."""
    yield from (make_row(record["prompt"], "slow", "briefs", record["id"]) for record in _routing(folder, "deep_research_briefs_dev"))


def _arena(folder: Path, _randomness: random.Random) -> Iterator[Row]:
    """Hard open questions: slow. Short creative ones are left out, as a small model's poem may do."""
    for name in ("arena_hard_v01_question", "arena_hard_v2_question"):
        for record in _routing(folder, name):
            if record["category"] != "creative_writing" or len(record["prompt"]) >= _BRIEF_CHARS:
                yield make_row(record["prompt"], "slow", "arena_hard", record.get("cluster", record["uid"]))


def _bfcl(folder: Path, _randomness: random.Random) -> Iterator[Row]:
    """First turns of tasks that take several tool calls: slow; single calls and brief turns are left out, as they may be either."""
    for record in _routing(folder, "bfcl_user_turns"):
        first = str(record["user_turns"][0]) if record["user_turns"] else ""
        if record["category"] in _BFCL_SEVERAL_STEPS and len(first) >= _BRIEF_CHARS:
            yield make_row(first, "slow", "bfcl", record["category"])


def _seeds(_folder: Path, randomness: random.Random) -> Iterator[Row]:
    """The project's own templates."""
    return seed_rows(randomness)


READERS: Final[Mapping[str, Reader]] = {
    "clinc150": _clinc,
    "banking77": _banking,
    "crosswoz": _crosswoz,
    "belle": _belle,
    "mmlu_pro": _mmlu_pro,
    "gsm8k": _gsm8k,
    "svamp": _svamp,
    "cmath": _cmath,
    "code": _code,
    "briefs": _briefs,
    "arena_hard": _arena,
    "bfcl": _bfcl,
    "seeds": _seeds,
}


def _routing(folder: Path, name: str) -> list[Record]:
    return _lines(folder / "routing" / f"{name}.jsonl")


def _lines(path: Path) -> list[Record]:
    return [cast(Record, json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def _by_key(records: Iterable[Record], key: str) -> dict[str, list[str]]:
    """Texts of each group, in order."""
    texts: dict[str, list[str]] = defaultdict(list)
    for record in records:
        texts[str(record[key])].append(str(record["text"]))
    return texts


def _joined(groups: Mapping[str, Sequence[str]], source: str, separator: str, count: int, randomness: random.Random) -> Iterator[Row]:
    """Longer fast rows from two to four neighbouring texts of a group."""
    names = sorted(name for name, texts in groups.items() if len(texts) >= 4)
    for _ in range(count):
        name = randomness.choice(names)
        size = randomness.randint(2, 4)
        start = randomness.randrange(len(groups[name]) - size + 1)
        yield make_row(separator.join(groups[name][start : start + size]), "fast", source, name)
