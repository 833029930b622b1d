"""What the pages show, computed from the wire objects: pure functions, no widget, no I/O, no clock of their own."""

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from pydantic import JsonValue

from tandem.schemas.base import JsonObject
from tandem.schemas.jobs import Job, JobStatus
from tandem.schemas.threads import MessagePage, Thread, ThreadMessage
from ui.texts import Texts

BadgeColor = Literal["red", "orange", "yellow", "blue", "green", "violet", "gray", "primary"]
JobGroup = Literal["all", "running", "done", "failed"]
JOB_GROUPS: Final[tuple[JobGroup, ...]] = ("all", "running", "done", "failed")

_CODE: Final = re.compile(r"(```.*?(?:```|\Z)|`[^`\n]*`)", re.DOTALL)
_INLINE: Final = re.compile(r"\\\((.+?)\\\)")
_DISPLAY: Final = re.compile(r"(?<!!)\\\[(.+?)\\\]", re.DOTALL)
_FORMULA: Final = re.compile(r"(\$\$.+?\$\$|(?<![\\$])\$(?=[^\s$])(?:[^$\n]*[^\s$\\])?\$(?![\d$]))", re.DOTALL)
"""Pandoc's rule: no space inside the signs, no digit after the closing one."""
_LONE_DOLLAR: Final = re.compile(r"(?<!\\)\$")
_WORD: Final = re.compile(r"[A-Za-z]{3,}")
_LINE_END: Final = re.compile(r"(?<=\S)\n(?=\S)")
"""Models write one step per line; Markdown would run the lines together, unless two spaces end them."""
_STATUS_LOOKS: Final[Mapping[JobStatus, tuple[str, BadgeColor]]] = {
    JobStatus.SCHEDULED: ("schedule", "gray"),
    JobStatus.QUEUED: ("hourglass_empty", "gray"),
    JobStatus.IN_PROGRESS: ("progress_activity", "blue"),
    JobStatus.INPUT_REQUIRED: ("contact_support", "orange"),
    JobStatus.PAUSED: ("pause_circle", "orange"),
    JobStatus.BUDGET_REACHED: ("savings", "orange"),
    JobStatus.CANCELLING: ("cancel", "gray"),
    JobStatus.COMPLETED: ("check_circle", "green"),
    JobStatus.FAILED: ("error", "red"),
    JobStatus.CANCELLED: ("block", "gray"),
    JobStatus.INCOMPLETE: ("warning", "orange"),
}
STEP_ICONS: Final = {
    "pending": "radio_button_unchecked",
    "running": "progress_activity",
    "done": "check_circle",
    "failed": "error",
    "skipped": "do_not_disturb_on",
}


@dataclass(frozen=True, slots=True)
class Badge:
    """A small label; the icon repeats what the colour says."""

    label: str
    icon: str
    color: BadgeColor

    @property
    def markdown(self) -> str:
        return f":{self.color}-badge[:material/{self.icon}: {self.label}]"


@dataclass(frozen=True, slots=True)
class MessageRow:
    """One message as drawn."""

    role: Literal["user", "assistant"]
    avatar: str
    text: str
    """Markdown for answers, plain text for people's words."""
    badges: Sequence[Badge]
    job_id: str | None
    """Job whose details a link shall open."""
    error: str | None


def message_row(message: ThreadMessage, job: Job | None, texts: Texts) -> MessageRow:
    """How a stored message is drawn; ``job`` is the one that brought it, when it is a job's result."""
    if message.role == "user":
        return MessageRow("user", ":material/person:", message.content, (), None, None)
    is_result = message.job_id is not None and message.turn_id is None
    badges: list[Badge] = []
    if is_result:
        badges.append(Badge(texts("chip.result"), "psychology", "violet"))
        if job is not None and job.verification is not None:
            badges.append(level_badge(job.verification.level, texts))
    elif message.lane == "slow":
        badges.append(Badge(texts("chip.slow"), "psychology", "violet"))
    elif message.lane == "fast":
        badges.append(Badge(texts("chip.fast"), "bolt", "gray"))
    avatar = ":material/psychology:" if is_result or message.lane == "slow" else ":material/bolt:"
    return MessageRow("assistant", avatar, safe_markdown(message.content), badges, message.job_id, message.error.message if message.error else None)


def level_badge(level: str, texts: Texts) -> Badge:
    """How far an answer was checked."""
    icon, color = _level_look(level)
    return Badge(f"{level} · {texts(f'level.{level}')}", icon, color)


def _level_look(level: str) -> tuple[str, BadgeColor]:
    match level:
        case "V4" | "V3":
            return "verified", "green"
        case "V2" | "V1":
            return "rule", "blue"
        case _:
            return "help", "orange"


def status_badge(status: JobStatus, texts: Texts) -> Badge:
    """Where a job stands."""
    icon, color = _STATUS_LOOKS[status]
    return Badge(texts(f"status.{status.value}"), icon, color)


def safe_markdown(text: str) -> str:
    """Markdown in which nothing is fetched, prices stay prices and formulas are drawn, however the model marks them. Code is left alone."""
    parts = _CODE.split(text)
    return "".join(part if at % 2 else _defused(part) for at, part in enumerate(parts))


def _defused(prose: str) -> str:
    """An image would tell a stranger's server who reads this, and when: it becomes its words."""
    prose = prose.replace("![", "!\\[")
    prose = _DISPLAY.sub(lambda found: f"$${found[1].strip()}$$", _INLINE.sub(lambda found: f"${found[1].strip()}$", prose))
    return "".join(part if at % 2 and _is_formula(part) else _plain(part) for at, part in enumerate(_FORMULA.split(prose)))


def _plain(prose: str) -> str:
    return _LINE_END.sub("  \n", _LONE_DOLLAR.sub(r"\\$", prose))


def _is_formula(span: str) -> bool:
    """Whether what stands between two dollar signs is mathematics, and not prose between two prices."""
    return span.startswith("$$") or "\\" in span or _WORD.search(span) is None


def thread_title(thread: Thread, texts: Texts) -> str:
    """The title in one short line."""
    title = " ".join(thread.title.split()) or texts("chat.untitled")
    return title if len(title) <= 40 else title[:39] + "…"


def plain_label(text: str) -> str:
    """Text as the label of a widget, whose Markdown would else be read."""
    return re.sub(r"([\\`*_{}\[\]()#+\-.!$:~<>|])", r"\\\1", text)


def age_words(seconds: float, texts: Texts) -> str:
    """How long ago, in the largest unit that fits."""
    for limit, unit_s, key in ((5, 1, "now"), (60, 1, "seconds"), (3_600, 60, "minutes"), (86_400, 3_600, "hours")):
        if seconds < limit:
            return texts(f"age.{key}", n=int(seconds // unit_s))
    return texts("age.days", n=int(seconds // 86_400))


def duration_words(job: Job, now: datetime) -> str:
    """Time from start to end, or until now; a dash before the start."""
    if job.started_at is None:
        return "–"
    seconds = max(0.0, ((job.finished_at or now) - job.started_at).total_seconds())
    return f"{seconds:.1f} s" if seconds < 60 else f"{int(seconds // 60)} min {int(seconds % 60)} s"


def task_text(job: Job) -> str:
    """The task in words: the text, or the newest message."""
    return job.request.input if isinstance(job.request.input, str) else job.request.input[-1].content


def in_group(job: Job, group: JobGroup) -> bool:
    """Whether the list shows this job."""
    match group:
        case "all":
            return True
        case "running":
            return not job.status.is_terminal
        case "done":
            return job.status is JobStatus.COMPLETED
        case "failed":
            return job.status.is_terminal and job.status is not JobStatus.COMPLETED


def attempt_rows(job: Job, texts: Texts) -> list[dict[str, JsonValue]]:
    """The attempts as a table."""
    return [
        {
            texts("table.method"): texts(f"strategy.{attempt.strategy}"),
            texts("table.answer"): attempt.answer,
            texts("table.problem"): attempt.error,
            texts("table.seconds"): round(attempt.seconds, 1),
            texts("table.tokens"): attempt.output_tokens,
        }
        for attempt in job.view.attempts
    ]


def check_rows(job: Job, texts: Texts) -> list[dict[str, JsonValue]]:
    """The checks as a table."""
    checks = job.verification.checks if job.verification else []
    return [
        {
            texts("table.check"): check.name,
            texts("table.level"): check.level,
            texts("table.passed"): check.passed,
            texts("table.detail"): check.detail,
        }
        for check in checks
    ]


def curl_command(job: Job, gateway_url: str) -> str:
    """The command that hands over the same task."""
    request = job.request.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude={"thread_id"})
    body = shlex.quote(json.dumps(request, ensure_ascii=False))
    return (
        f"curl -s {shlex.quote(gateway_url + '/v1/jobs')} \\\n"
        f'  -H "Authorization: Bearer $TANDEM_API_KEY" \\\n  -H "Content-Type: application/json" \\\n  -d {body}'
    )


def live_data(page: MessagePage, thread_id: str, running: Sequence[Job], texts: Texts) -> JsonObject:
    """What the live component gets: where to start, what is already drawn, the running jobs, and its words."""
    return {
        "thread": thread_id,
        "language": texts.language,
        "after": page.live_after,
        "drawn": list[JsonValue](message.id for message in page.data if message.seq > page.live_after),
        "answered": list[JsonValue](message.turn_id for message in page.data if message.role == "assistant" and message.turn_id),
        "jobs": [job_card(job) for job in running],
        "words": {**_words(texts), "fast": texts("chip.fast"), "slow": texts("chip.slow")},
    }


def job_card(job: Job) -> JsonObject:
    """A job in the shape of a JOB_UPDATED event."""
    return {"job_id": job.id, "status": job.status.value, "view": job.view.model_dump(mode="json"), "last_seq": job.last_seq}


def _words(texts: Texts) -> JsonObject:
    """The component's own words without prefix, those of states with it."""
    words: JsonObject = dict(texts.starting_with("live."))
    for prefix in ("status.", "step.", "age."):
        words |= {prefix + key: text for key, text in texts.starting_with(prefix).items()}
    return words
