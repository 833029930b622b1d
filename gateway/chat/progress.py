"""A job's events as lines for people who watch the reasoning: pure, from the event alone, so that no line says more than the record does."""

from collections.abc import Mapping
from typing import Final, Literal

from pydantic import JsonValue

from tandem.schemas.events import Event, JobEvent

Language = Literal["en", "zh", "other"]
_MAX_CHARS: Final = 300
_EN: Final[Mapping[str, str]] = {
    JobEvent.SCHEDULED: "Scheduled for {run_at}.",
    JobEvent.QUEUED: "Queued.",
    JobEvent.ATTEMPT_STARTED: "A worker started.",
    JobEvent.ATTEMPT_LOST: "The worker was lost; another one takes over.",
    JobEvent.CANCELLING: "Cancelling.",
    JobEvent.PLAN_CREATED: "Plan: {plan}",
    JobEvent.STEP_STARTED: "Step: {title}",
    JobEvent.STEP_COMPLETED: "Done: {title}",
    JobEvent.SOLUTION_ATTEMPTED: "Attempt ({strategy}): {outcome}",
    JobEvent.TOOL_STARTED: "Tool {tool} runs.",
    JobEvent.TOOL_COMPLETED: "Tool {tool}: {summary}",
    JobEvent.VERIFICATION_PASSED: "Check passed ({level}): {name}",
    JobEvent.VERIFICATION_FAILED: "Check failed ({level}): {name}",
    JobEvent.DEFERRED: "The model server is away; tried again at {run_at}.",
    JobEvent.PAUSING: "Pausing.",
    JobEvent.PAUSED: "Paused; it goes on at POST /v1/jobs/{job_id}/resume.",
    JobEvent.INPUT_REQUIRED: "Question, to be answered at /v1/jobs/{job_id}/inputs/{id}: {prompt}",
    JobEvent.INPUT_RECEIVED: "The question “{key}” was answered.",
    JobEvent.INPUT_EXPIRED: "Nobody answered the question “{key}” in time.",
    JobEvent.STEERED: "Added: {message}",
    JobEvent.STEER_APPLIED: "What was added is taken up at: {step}",
    JobEvent.CHANGED: "Budget, priority or metadata were changed.",
    JobEvent.ARTIFACT_CREATED: "File: {name}",
    JobEvent.BUDGET_WARNING: "Most of the budget is spent ({meter}).",
    JobEvent.BUDGET_REACHED: "The budget is reached.",
}
_ZH: Final[Mapping[str, str]] = {
    JobEvent.SCHEDULED: "定于 {run_at} 开始。",
    JobEvent.QUEUED: "已排队。",
    JobEvent.ATTEMPT_STARTED: "工作进程已开始。",
    JobEvent.ATTEMPT_LOST: "工作进程丢失，由另一个接手。",
    JobEvent.CANCELLING: "正在取消。",
    JobEvent.PLAN_CREATED: "计划：{plan}",
    JobEvent.STEP_STARTED: "步骤：{title}",
    JobEvent.STEP_COMPLETED: "完成：{title}",
    JobEvent.SOLUTION_ATTEMPTED: "尝试（{strategy}）：{outcome}",
    JobEvent.TOOL_STARTED: "工具 {tool} 运行中。",
    JobEvent.TOOL_COMPLETED: "工具 {tool}：{summary}",
    JobEvent.VERIFICATION_PASSED: "检查通过（{level}）：{name}",
    JobEvent.VERIFICATION_FAILED: "检查未通过（{level}）：{name}",
    JobEvent.DEFERRED: "模型服务器不可用；将于 {run_at} 重试。",
    JobEvent.PAUSING: "正在暂停。",
    JobEvent.PAUSED: "已暂停；用 POST /v1/jobs/{job_id}/resume 继续。",
    JobEvent.INPUT_REQUIRED: "有问题待回答（/v1/jobs/{job_id}/inputs/{id}）：{prompt}",
    JobEvent.INPUT_RECEIVED: "问题“{key}”已回答。",
    JobEvent.INPUT_EXPIRED: "问题“{key}”超时无人回答。",
    JobEvent.STEERED: "补充：{message}",
    JobEvent.STEER_APPLIED: "补充内容用于：{step}",
    JobEvent.CHANGED: "预算、优先级或元数据已更改。",
    JobEvent.ARTIFACT_CREATED: "文件：{name}",
    JobEvent.BUDGET_WARNING: "预算即将用完（{meter}）。",
    JobEvent.BUDGET_REACHED: "预算已用完。",
}


def progress_line(event: Event, language: Language) -> str | None:
    """One line with its line break, or None for an event that says nothing to a reader."""
    template = (_ZH if language == "zh" else _EN).get(event.type)
    if template is None:
        return None
    line = template.format_map(_Words({"job_id": event.stream_id, **event.data}))
    return f"{' '.join(line.split())[:_MAX_CHARS]}\n"


class _Words(dict[str, str]):
    """The words a template asks for, from the event's data; a missing one is a dash."""

    def __init__(self, data: Mapping[str, JsonValue]) -> None:
        super().__init__({name: value for name, value in data.items() if isinstance(value, str)})
        self["plan"] = "; ".join(_titles(data.get("steps"))) or "–"
        self["outcome"] = str(data.get("answer") or data.get("error") or "–")

    def __missing__(self, key: str) -> str:
        return "–"


def _titles(steps: JsonValue) -> list[str]:
    if not isinstance(steps, list):
        return []
    return [f"{at}. {step['title']}" for at, step in enumerate(steps, 1) if isinstance(step, dict) and isinstance(step.get("title"), str)]
