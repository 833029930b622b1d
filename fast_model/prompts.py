"""What the copilot is told, what it is shown of a conversation, and the lines it says of jobs and of doubtful answers. English and Chinese.

Texts are kept short: each token of the system prompt delays the first word of every answer on a CPU until the prompt cache is warm. Pure.
"""

from collections.abc import Mapping, Sequence
from typing import Final, Literal

from tandem.schemas.chat import ChatMessage

Language = Literal["en", "zh", "other"]
"""As a ``Decision`` names it; ``other`` is spoken to in English and asked to answer in the user's language."""

CONTEXT_TOKENS: Final = 4_096
REPLY_TOKENS: Final = 1_024
"""Part of the context kept free for the answer."""
CHARS_PER_TOKEN: Final = 3.0
"""Cautious: English needs about 4 characters per token with Qwen's tokenizer, code about 3."""
MESSAGE_TOKENS: Final = 6
"""Tokens of a chat template around one message."""
TITLE_CHARS: Final = 80

_ENGLISH: Final = (
    "You are Tandem's copilot, the quick half of an assistant that also has a slower, more careful half for hard tasks. "
    "Answer briefly and directly, in the language of the user's last message. "
    "If you do not know or are not sure, say so. Never invent facts, sources, or results, and never claim to have done something you have not."
)
SYSTEM_PROMPTS: Final[Mapping[Language, str]] = {
    "en": _ENGLISH,
    "zh": (
        "你是 Tandem 的副驾驶，负责快速回答；困难的任务由更慢、更仔细的另一半在后台完成。"
        "请用用户最后一条消息的语言，简短直接地回答。"
        "不知道或不确定时要直说。不要编造事实、来源或结果，也不要声称做过没有做的事。"
    ),
    "other": _ENGLISH,
}
_ACKNOWLEDGEMENTS: Final[Mapping[Language, str]] = {
    "en": "This needs careful work, so I have started a background job: “{title}”. You can keep talking to me; the result will appear here.",
    "zh": "这件事需要仔细做，我已经在后台开始处理：“{title}”。您可以继续和我聊，结果会出现在这里。",
    "other": "This needs careful work, so I have started a background job: “{title}”. You can keep talking to me; the result will appear here.",
}
_DOUBTS: Final[Mapping[Language, str]] = {
    "en": "I am not sure about this answer, so I have started a careful check: “{title}”. Its result will appear here.",
    "zh": "我对这个回答没有把握，已经开始仔细核对：“{title}”。结果会出现在这里。",
    "other": "I am not sure about this answer, so I have started a careful check: “{title}”. Its result will appear here.",
}
_WAITED_DOUBTS: Final[Mapping[Language, str]] = {
    "en": "I am not sure about this answer; it is being checked carefully.",
    "zh": "我对这个回答没有把握，正在仔细核对。",
    "other": "I am not sure about this answer; it is being checked carefully.",
}
_UNCHECKED: Final[Mapping[Language, str]] = {
    "en": "I am not sure about this answer, and it could not be checked more carefully.",
    "zh": "我对这个回答没有把握，也没能进一步核对。",
    "other": "I am not sure about this answer, and it could not be checked more carefully.",
}
_CHECK_TITLES: Final[Mapping[Language, str]] = {"en": "Check: {title}", "zh": "核对：{title}", "other": "Check: {title}"}
_CORRECTIONS: Final[Mapping[Language, str]] = {
    "en": "(The reply above came at once from a small model and may be wrong. Work this out anew and with care, then confirm or correct that reply.)",
    "zh": "（上面的回答来自一个快速的小模型，可能有错。请自己重新仔细想一遍，再确认或纠正它。）",
    "other": "(The reply above came at once from a small model and may be wrong. Work this out anew and with care, then confirm or correct it. "
    "Answer in the language of the task.)",
}
SHOWN_ANSWER_CHARS: Final = 4_000
"""How much of a doubtful answer System 2 is shown."""


def copilot_messages(
    history: Sequence[ChatMessage],
    language: Language,
    *,
    context_tokens: int = CONTEXT_TOKENS,
    reply_tokens: int = REPLY_TOKENS,
    prompt: str | None = None,
) -> list[ChatMessage]:
    """The system prompt and as much of the newest history as fits ``context_tokens`` beside a reply of ``reply_tokens``.

    System messages of the history join the system prompt (or ``prompt`` in its place, which may be empty when the history brings one), since chat
    templates take one, at the start. The newest message is always kept whole: when
    it alone is too long, the model server says so, which is better than an answer to half a question. A kept history starts with a user's message.
    """
    extra = [message.content for message in history if message.role == "system"]
    own = SYSTEM_PROMPTS[language] if prompt is None else prompt
    system = ChatMessage(role="system", content="\n\n".join(part for part in (own, *extra) if part))
    spoken = [message for message in history if message.role != "system"]
    left = context_tokens - reply_tokens - _message_tokens(system)
    start = len(spoken)
    while start > 0 and (start == len(spoken) or _message_tokens(spoken[start - 1]) <= left):
        start -= 1
        left -= _message_tokens(spoken[start])
    while start < len(spoken) - 1 and spoken[start].role == "assistant":
        start += 1
    return [system, *spoken[start:]]


def acknowledgement(language: Language, title: str) -> str:
    """The line said when a job starts; a long title is cut."""
    flat = " ".join(title.split())
    return _ACKNOWLEDGEMENTS[language].format(title=flat if len(flat) <= TITLE_CHARS else flat[: TITLE_CHARS - 1].rstrip() + "…")


def doubt(language: Language, title: str) -> str:
    """The line under an answer whose check failed, where a job brings its result later."""
    return _DOUBTS[language].format(title=title)


def waited_doubt(language: Language) -> str:
    """The line between an answer whose check failed and its correction, where the caller waits for that."""
    return _WAITED_DOUBTS[language]


def unchecked_doubt(language: Language) -> str:
    """The line under an answer whose check failed when no job can be had, or when it brought no answer."""
    return _UNCHECKED[language]


def check_title(language: Language, title: str) -> str:
    """What the job of a doubtful answer is called."""
    return _CHECK_TITLES[language].format(title=title)


def correction_task(conversation: Sequence[ChatMessage], answer: str, language: Language) -> list[ChatMessage]:
    """What System 2 is asked: the task again, with the doubtful answer before it, to be confirmed or corrected. The newest message is the last.

    The task stays the first thing in the last message: System 2 tells from it what kind of task it is.
    """
    *before, task = conversation
    answer = answer.replace("\x00", "\ufffd")  # a model may say what no database keeps
    shown = answer if len(answer) <= SHOWN_ANSWER_CHARS else f"{answer[:SHOWN_ANSWER_CHARS]}…"
    replied = [task, ChatMessage(role="assistant", content=shown)] if shown.strip() else []
    note = f"\n\n{_CORRECTIONS[language]}" if replied else ""
    return [*before, *replied, ChatMessage(role="user", content=f"{task.content}{note}")]


def estimate_tokens(text: str) -> int:
    """A cautious upper estimate of a text's tokens: one for each character outside ASCII, a third of one for the others."""
    plain = sum(1 for character in text if character < "\x80")
    return len(text) - plain + int(plain / CHARS_PER_TOKEN) + 1


def _message_tokens(message: ChatMessage) -> int:
    return estimate_tokens(message.content) + MESSAGE_TOKENS
