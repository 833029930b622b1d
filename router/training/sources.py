"""Reads the public sets of a data folder into labelled rows. One function per set; the label rule of each is its docstring.

Only what is derived from these rows is shipped; the rows themselves are not.
"""

import json
import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias, cast

from router.training.rows import Known, Row, make_row, seed_rows
from tandem.schemas.routing import Intent, Lane

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
LARGE_MODELS: Final = (
    "Meta-Llama-3_1-70B-Instruct",
    "Qwen1.5-72B-Chat",
    "DeepSeek-Coder-V2",
    "gemini-1.5-flash-002",
    "gemini-1.5-pro-002",
    "jamba-1.5-large",
)
_CALCULATING: Final = frozenset({"math", "physics", "chemistry", "engineering", "computer science", "economics", "business"})
_MATHEMATICAL: Final = ("mathematics", "algebra", "statistics", "econometrics", "physics")
"""In the names of MMLU's subjects."""
_BELLE: Final[Mapping[str, tuple[Lane | None, Intent]]] = {
    "open qa": ("fast", "question"),
    "closed qa": ("fast", "question"),
    "brainstorming": ("fast", "question"),
    "classification": ("fast", "question"),
    "extract": ("fast", "writing"),
    "rewrite": ("fast", "writing"),
    "summarization": ("fast", "writing"),
    "generation": (None, "writing"),
    "math": ("slow", "math"),
    "code": ("slow", "code"),
}
_ARENA: Final[Mapping[str, Intent]] = {"math": "math", "coding": "code", "creative_writing": "writing"}
_SMALL_TALK: Final = frozenset({
    "greeting",
    "goodbye",
    "thank_you",
    "tell_joke",
    "meaning_of_life",
    "are_you_a_bot",
    "what_is_your_name",
    "yes",
    "no",
})
_BRIEF_CHARS: Final = 120
_BFCL_SEVERAL_STEPS: Final = ("multi_turn_base", "multi_turn_composite", "multi_turn_long_context", "parallel", "parallel_multiple", "web_search")
_BFCL_WITHOUT: Final = ("irrelevance", "live_irrelevance")
VARIED: Final = frozenset({"mmlu_pro", "routellm_mmlu", "routellm_gsm8k", "seeds"})
VARIED_FACTOR: Final = 3
"""So many times as many rows are drawn of sources whose rows are outcomes, or few of each kind."""
SCORED_SOURCES: Final = frozenset({"routellm_mmlu", "routellm_gsm8k"})
"""The scored halves themselves, whose outcomes train the gains; they are judged in folds only."""
SOLVED: Final = 7_500
"""Word problems that their difficulty is learnt from."""
MATH_FAILS: Final = 0.356
"""Share of RouteLLM's GSM8K half that the weak model (Mixtral 8x7B) gets wrong: stands for word problems without an outcome of their own."""
_OPTION_LETTERS: Final = "ABCDEFGHIJ"


def read_rows(folder: Path, randomness: random.Random, *, most_per_source: int) -> Iterator[tuple[str, list[Row]]]:
    """Every source's rows, at most ``most_per_source`` (more of the varied ones), drawn by whole shuffles."""
    for source, reader in READERS.items():
        rows = list(reader(folder, randomness))
        randomness.shuffle(rows)
        yield source, rows[: most_per_source * (VARIED_FACTOR if source in VARIED else 1)]


def scored_texts(folder: Path) -> Iterator[str]:
    """Prompts of the benchmark halves that later judge the router: the kind of ask is not learnt from anything like them."""
    for name in ("routellm_gsm8k_dev", "routellm_mmlu_dev"):
        yield from (str(record["prompt"]) for record in _lines(folder / "routing" / f"{name}.jsonl"))


def solved_word_problems(folder: Path) -> tuple[list[str], list[int]]:
    """GSM8K's training questions and the calculations in the solution of each: a measure of difficulty without any model's outcome."""
    records = _lines(folder / "reasoning" / "gsm8k_train.jsonl")[:SOLVED]
    return [str(record["question"]) for record in records], [str(record["answer"]).count("<<") for record in records]


def _clinc(folder: Path, randomness: random.Random) -> Iterator[Row]:
    """Assistant intents: fast. Some rows join two or three utterances of an intent, so that fast is not only short."""
    records = _routing(folder, "clinc150_train")
    for record in records:
        tools = 0 if record["intent"] in _SMALL_TALK else None
        yield make_row(record["text"], "fast", "clinc150", record["intent"], Known(intent="chat", fails=0.0, tools=tools))
    yield from _joined(_by_key(records, "intent"), "clinc150", ". ", 400, randomness)


def _banking(folder: Path, _randomness: random.Random) -> Iterator[Row]:
    """Support intents: fast."""
    for record in _routing(folder, "banking77_train"):
        yield make_row(record["text"], "fast", "banking77", record["intent"], Known(intent="chat", fails=0.0))


def _crosswoz(folder: Path, randomness: random.Random) -> Iterator[Row]:
    """Chinese task dialogue: fast. Some rows join neighbouring turns of a dialogue."""
    records = _routing(folder, "crosswoz_zh")
    yield from (make_row(record["text"], "fast", "crosswoz", record["dialogue"], Known(intent="chat", fails=0.0)) for record in records)
    yield from _joined(_by_key(records, "dialogue"), "crosswoz", "", 400, randomness)


def _belle(folder: Path, _randomness: random.Random) -> Iterator[Row]:
    """Chinese instructions: questions, rewriting, extraction fast; mathematics and code slow; free generation has no lane, as it may be either."""
    for index, record in enumerate(_routing(folder, "belle_zh_eval_set")):
        lane, intent = _BELLE.get(str(record["class"]).replace("\xa0", " "), (None, None))
        if intent is not None:
            fails = MATH_FAILS if intent == "math" else 0.0 if lane == "fast" else None
            yield make_row(record["question"], lane, "belle", index, Known(intent=intent, fails=fails, tools=0))


def _mmlu_pro(folder: Path, _randomness: random.Random) -> Iterator[Row]:
    """Slow where at most two of six small models are right; fast where all are and nothing is calculated; without a lane between.

    All have outcomes. Every other row shows its options.
    """
    for index, record in enumerate(_routing(folder, "mmlu_pro_outcomes")):
        right = sum(record["correct"][model] for model in SMALL_MODELS)
        is_easy = right == len(SMALL_MODELS) and record["category"] not in _CALCULATING
        lane: Lane | None = "fast" if is_easy else "slow" if right <= 2 else None
        has_options = index % 2 == 1
        options = "\n".join(f"{letter}. {option}" for letter, option in zip(_OPTION_LETTERS, record["options"], strict=False))
        known = Known(
            intent="math" if record["category"] == "math" else "question",
            fails=1 - right / len(SMALL_MODELS),
            fixes=_mean([record["correct"][model] for model in LARGE_MODELS if model in record["correct"]]),
            tools=0,
        )
        yield make_row(f"{record['question']}\n{options}" if has_options else str(record["question"]), lane, "mmlu_pro", record["src"], known)


def _mean(right: Sequence[int]) -> float | None:
    return sum(right) / len(right) if right else None


def _routellm_mmlu(folder: Path, _randomness: random.Random) -> Iterator[Row]:
    """RouteLLM's MMLU half: outcomes of Mixtral 8x7B and GPT-4, no lane."""
    for index, record in enumerate(_routing(folder, "routellm_mmlu_dev")):
        subject = str(record["subject"])
        intent: Intent = "math" if any(name in subject for name in _MATHEMATICAL) else "question"
        yield make_row(record["prompt"], None, "routellm_mmlu", index, _pair(record, intent, f"mmlu/{subject}"))


def _routellm_gsm8k(folder: Path, _randomness: random.Random) -> Iterator[Row]:
    """RouteLLM's GSM8K half: the same outcomes, no lane."""
    for index, record in enumerate(_routing(folder, "routellm_gsm8k_dev")):
        yield make_row(record["prompt"], None, "routellm_gsm8k", index, _pair(record, "math", "gsm8k"))


def _pair(record: Record, intent: Intent, subject: str) -> Known:
    weak, strong = float(record["weak"]), float(record["strong"])
    return Known(intent=intent, fails=1 - weak, fixes=strong, tools=0, gain=strong - weak, subject=subject)


def _gsm8k(folder: Path, _randomness: random.Random) -> Iterator[Row]:
    """English word problems: slow."""
    for index, record in enumerate(_lines(folder / "reasoning" / "gsm8k_train.jsonl")):
        yield make_row(record["question"], "slow", "gsm8k", index, _WORD_PROBLEM)


def _svamp(folder: Path, _randomness: random.Random) -> Iterator[Row]:
    """Short English word problems: slow."""
    for record in cast(list[Record], json.loads((folder / "reasoning" / "svamp.json").read_bytes())):
        yield make_row(f"{str(record['Body']).rstrip('. ')}. {record['Question']}", "slow", "svamp", record["ID"], _WORD_PROBLEM)


def _cmath(folder: Path, _randomness: random.Random) -> Iterator[Row]:
    """Chinese word problems: slow."""
    for index, record in enumerate(_lines(folder / "reasoning" / "cmath_dev.jsonl")):
        yield make_row(record["input"], "slow", "cmath", index, _WORD_PROBLEM)


_WORD_PROBLEM: Final = Known(intent="math", fails=MATH_FAILS, tools=0)


def _code(folder: Path, _randomness: random.Random) -> Iterator[Row]:
    """Programming tasks: slow."""
    for record in _routing(folder, "humaneval_humaneval"):
        yield make_row(record["prompt"], "slow", "code", record["task_id"], Known(intent="code", tools=0))
    for record in _lines(folder / "reasoning" / "mbpp_dev.jsonl"):
        yield make_row(record["text"], "slow", "code", record["task_id"], Known(intent="code", tools=0))


def _briefs(folder: Path, _randomness: random.Random) -> Iterator[Row]:
    """Deep-research briefs, English and Chinese: slow."""
    for record in _routing(folder, "deep_research_briefs_dev"):
        yield make_row(record["prompt"], "slow", "briefs", record["id"], Known(intent="research", fails=1.0, tools=1))


def _arena(folder: Path, _randomness: random.Random) -> Iterator[Row]:
    """Hard open questions: slow. Short creative ones are left out, as a small model's poem may do."""
    for name in ("arena_hard_v01_question", "arena_hard_v2_question"):
        for record in _routing(folder, name):
            if record["category"] != "creative_writing" or len(record["prompt"]) >= _BRIEF_CHARS:
                known = Known(intent=_ARENA.get(str(record.get("subcategory"))), fails=1.0, tools=0)
                yield make_row(record["prompt"], "slow", "arena_hard", record.get("cluster", record["uid"]), known)


def _bfcl(folder: Path, _randomness: random.Random) -> Iterator[Row]:
    """First turns of tasks that take several tool calls: slow; single calls and brief turns have no lane, as they may deserve either."""
    for record in _routing(folder, "bfcl_user_turns"):
        first = str(record["user_turns"][0]) if record["user_turns"] else ""
        if not first.strip() or record["category"] in _BFCL_WITHOUT:
            continue
        is_several = record["category"] in _BFCL_SEVERAL_STEPS and len(first) >= _BRIEF_CHARS
        known = Known(intent="tools" if is_several else None, fails=1.0 if is_several else None, tools=1)
        yield make_row(first, "slow" if is_several else None, "bfcl", record["category"], known)


def _seeds(_folder: Path, randomness: random.Random) -> Iterator[Row]:
    """The project's own templates."""
    return seed_rows(randomness)


READERS: Final[Mapping[str, Reader]] = {
    "clinc150": _clinc,
    "banking77": _banking,
    "crosswoz": _crosswoz,
    "belle": _belle,
    "mmlu_pro": _mmlu_pro,
    "routellm_mmlu": _routellm_mmlu,
    "routellm_gsm8k": _routellm_gsm8k,
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
        yield make_row(separator.join(groups[name][start : start + size]), "fast", source, name, Known(intent="chat", fails=0.0))
