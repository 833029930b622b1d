"""What a person asks in a message, apart from what the message carries along: harness text, tool results, quoted mail, pasted material, program text.

Time is linear in the message, and only ``SCAN_CHARS`` of it are looked at. Knows nothing of features.
"""

import json
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

SCAN_CHARS: Final = 40_000
"""Of a longer message, half of them from either end: the ask stands at the start or the end (notes/routing, section 8)."""
MOST_JSON: Final = 8
"""JSON values looked for in one message."""
JSON_CHARS: Final = 200
"""A shorter JSON value may be the ask itself."""
LEAD_CHARS: Final = 200
"""An instruction about pasted text is at most this long."""
PASTED_CHARS: Final = 160
"""Text after it that is at least this long counts as pasted (a third of it in Chinese)."""

_HARNESS: Final = (
    r"system[-_]reminder|system[-_]message|context|documents?|document[-_]contents?|environment[-_]details|environment[-_]context|"
    r"tool[-_]results?|tool[-_]output|tool[-_]call|function[-_]results?|function[-_]call|search[-_]results?|attachments?|attached[-_]files?|"
    r"file[-_]contents?|ide[-_]selection|ide[-_]opened[-_]file|local-command-stdout|command-(?:name|message|args)|retrieved|knowledge|memory|"
    r"user[-_]info|instructions|INST"
)
_OPEN: Final = re.compile(rf"<({_HARNESS})(?:\s[^<>]{{0,300}})?>", re.IGNORECASE)
_JSON_START: Final = re.compile(r"^[ \t]*(?=\{\s*[\"}]|\[\s*[\[{\"\d-])", re.MULTILINE)
_MAIL: Final = re.compile(
    r"^(?:-{2,} ?(?:original message|forwarded message|原始邮件|转发的?邮件) ?-{2,}|on [^\n]{5,120} wrote:|在[^\n]{5,120}写道[:：]|"
    r"(?:from|发件人)[:：][^\n]{1,200}\n(?:[^\n]{0,200}\n){0,3}(?:to|subject|sent|date|收件人|主题|发送时间|日期)[:：])",
    re.IGNORECASE | re.MULTILINE,
)
_QUOTE_LINE: Final = re.compile(r"^ {0,3}>(?!>>).*(?:\n|\Z)", re.MULTILINE)
_CELL: Final = r"[^\n,，|\t]{0,25}"
_TABLE: Final = re.compile(rf"(?:^{_CELL}(?:[,，|\t]{_CELL}){{2,}}(?:\n|\Z)){{3,}}", re.MULTILINE)
_FENCE: Final = re.compile(r"^[ \t]{0,3}(?:```|~~~)(\w{0,20}).*?(?:^[ \t]{0,3}(?:```|~~~)[ \t]*$|\Z)", re.MULTILINE | re.DOTALL)
_TEXT_WORK: Final = re.compile(
    r"\b(?:summari[sz]e|summary|translate|translation|proofread|rephrase|paraphrase|rewrite|shorten|extract|classify|sentiment|polish|edit|"
    r"headline|subject line|tl;?dr|key points|typos|grammar)\b"
    r"|翻译|译成|总结|概括|摘要|改写|润色|提取|抽取|分类|情感|标题|缩写|错别字|归纳|关键词|改正|编辑|扩写"
    r"|(?:根据|基于|阅读)[^：:\n]{0,10}(?:文章|文本|段落|材料|短文|对话|文字|表格?|数据表)[^：:\n]{0,8}(?:回答|选择|判断)"
    r"|\b(?:read|based on|according to|using) (?:the|this) (?:[a-z]+ )?(?:passage|article|text|table|e-?mail)[^:\n]{0,40}\banswer\b"
)
_TEXT_QUESTION: Final = re.compile(r"\b(?:about|mentioned|main (?:idea|point|topic)s?|tone|title)\b|大意|意思|主题|语气|提到|哪里|什么问题|是谁")
"""What a question after a long text may ask of it."""
_POINTING: Final = re.compile(
    r"\b(?:this|these|those|following|below|above|text|e-?mail|article|passage|paragraph|messages?|sentence|document|transcript|review)\b"
    r"|以下|下面|下文|下列|上面|上述|以上|这段|这篇|这句|这个|文章|文字|文本|句子|段落|邮件|对话|给定|评论|内容|短文"
)
_OPTION: Final = re.compile(
    r"^[ \t]{0,12}\(?([A-Ja-j])[.):、．）]|(?<=[\s：，。？])\(?([A-J])[.):、．）](?=[\s\u3400-\u9fff]|\w{2}|\d)|(?<=\s)\([a-j]\)\s", re.MULTILINE
)
OPTION_CHARS: Final = 4_000
"""Options are looked for in so much of the end of the ask."""
OPTIONS: Final = 3
"""With so many options a text is an exam question, which belongs to the ask as a whole."""
_LEAD_END: Final = re.compile(r"[:：\n]|[。！？]|[.!?](?=\s)")
_WIDE: Final = re.compile(r"[\uff21-\uff3a\uff41-\uff5a]")
_CHINESE: Final = re.compile(r"[\u3400-\u9fff]")


@dataclass(frozen=True, slots=True)
class Ask:
    """A message, taken apart."""

    text: str
    """The person's own words; the whole message if nothing else would be left."""
    carried: int
    """Characters left out, program text apart."""
    code_lines: int
    """Lines of fenced program text, which is left out as well."""
    options: int
    """Distinct letters that mark answer options, as in an exam."""


def human_ask(message: str) -> Ask:
    """Leave out what the person did not say: harness tags, JSON, tables, quotations, fenced code, text pasted under an instruction about it."""
    bounded = _bounded(message)
    said = whole = _narrowed(bounded)
    for drop in (_without_harness, _without_json, _without_mail, _without_quotes, _without_tables):
        said = _unless_blank(said, drop)
    unfenced = _unless_blank(said, _without_fences)
    options = _options(unfenced)
    unfenced_ask = unfenced.strip()
    ask = unfenced_ask if options >= OPTIONS else _without_pasted(unfenced_ask)
    return Ask(
        text=ask,
        carried=max(0, len(message) - len(bounded)) + len(whole) - len(said) + len(unfenced_ask) - len(ask),
        code_lines=said.count("\n") - unfenced.count("\n"),
        options=options,
    )


def _bounded(message: str) -> str:
    if len(message) <= SCAN_CHARS:
        return message
    return f"{message[: SCAN_CHARS // 2]}\n{message[-SCAN_CHARS // 2 :]}"


def _narrowed(text: str) -> str:
    """Latin text in letters as wide as Chinese ones, in plain letters: the marks looked for below are plain ones."""
    wide = len(_WIDE.findall(text)) if not text.isascii() else 0
    return unicodedata.normalize("NFKC", text) if wide > len(_CHINESE.findall(text)) else text


def _unless_blank(text: str, drop: Callable[[str], str]) -> str:
    """What is left, or the text itself where nothing is: a message that is all quotation is the ask."""
    left = drop(text)
    return left if left is text or left.strip() else text


def _without_harness(text: str) -> str:
    """Without the tagged blocks; a tag that is never closed is the person's own."""
    if "<" not in text:
        return text
    pieces: list[str] = []
    done = 0
    unclosed: set[str] = set()
    for tag in _OPEN.finditer(text):
        name = tag.group(1).lower()
        if tag.start() < done or name in unclosed:
            continue
        closing = re.compile(f"</{re.escape(name)}>", re.IGNORECASE).search(text, tag.end())
        if closing is None:
            unclosed.add(name)  # not searched for again, so that many such tags stay linear
            continue
        pieces.append(text[done : tag.start()])
        done = closing.end()
    return "".join([*pieces, text[done:]]) if done else text


def _without_json(text: str) -> str:
    """Without the first long JSON values that begin a line."""
    if "{" not in text and "[" not in text:
        return text
    pieces: list[str] = []
    done = 0
    tries = 0
    for start in _JSON_START.finditer(text):
        if start.end() < done:
            continue
        tries += 1
        if tries > MOST_JSON:
            break
        end = _end_of_json(text, start.end())
        if end - start.end() >= JSON_CHARS:
            pieces.append(text[done : start.start()])
            done = end
    return "".join([*pieces, text[done:]]) if done else text


def _end_of_json(text: str, start: int) -> int:
    try:
        return _DECODER.raw_decode(text, start)[1]
    except (ValueError, RecursionError):  # not JSON, or brackets nested beyond the decoder's depth: either way the person's own text
        return start


_DECODER: Final = json.JSONDecoder()


def _without_mail(text: str) -> str:
    """Without the mail that is answered or forwarded below."""
    header = _MAIL.search(text)
    return text[: header.start()] if header else text


def _without_quotes(text: str) -> str:
    """Without lines marked as quoted; ``>>>`` is Python's prompt."""
    return _QUOTE_LINE.sub("", text) if text.startswith(">") or "\n>" in text or "\n >" in text else text


def _without_tables(text: str) -> str:
    """Without rows of cells between commas, bars or tabs."""
    return _TABLE.sub("", text)


def _without_fences(text: str) -> str:
    """Fenced program text becomes its fence and language."""
    return _FENCE.sub(r"```\1", text) if "```" in text or "~~~" in text else text


def _options(text: str) -> int:
    return len({found.group().strip(" \t\n().:、．）").lower() for found in _OPTION.finditer(text[-OPTION_CHARS:])})


def _without_pasted(text: str) -> str:
    """The instruction alone, where a short one about a text stands before or after a long text."""
    least = PASTED_CHARS // 3 if _CHINESE.search(text, 0, LEAD_CHARS) else PASTED_CHARS
    if len(text) < least:
        return text
    end = _LEAD_END.search(text, 1, LEAD_CHARS)
    has_lead = end is not None and len(text) - end.end() >= least and _is_about_text(text[: end.end()])
    last = _last_paragraph(text)
    has_tail = bool(last) and len(text) - len(last) >= least and (_is_about_text(last) or _asks_of_text(last))
    if not (has_lead or has_tail):
        return text
    return f"{text[: end.end()]}\n{last}" if has_lead and end is not None else last


def _last_paragraph(text: str) -> str:
    """The short last paragraph after a blank line, if there is one."""
    start = text.rfind("\n\n")
    return text[start + 2 :] if start > 0 and len(text) - start - 2 <= LEAD_CHARS else ""


def _is_about_text(lead: str) -> bool:
    """Whether it asks for something to be done with a text that stands elsewhere."""
    lead = lead.lower()
    ends_open = lead.rstrip().endswith((":", "："))
    return _TEXT_WORK.search(lead) is not None and (ends_open or _POINTING.search(lead) is not None)


def _asks_of_text(last: str) -> bool:
    """Whether it is a question about a text above it."""
    last = last.lower()
    return _TEXT_QUESTION.search(last) is not None and _POINTING.search(last) is not None
