"""Whether an answer fits its question: checked at the door, so that a worker only ever meets answers it can use."""

import json
from collections.abc import Sequence
from typing import Final

from jsonschema import Draft202012Validator
from pydantic import JsonValue
from referencing import Registry
from referencing.exceptions import Unresolvable

from tandem.errors import InputTooLong, InvalidRequest
from tandem.schemas.base import JsonObject
from tandem.schemas.inputs import InputAnswer, InputRequest
from tandem.schemas.text import check_text

_DECISIONS: Final = "'approve', 'reject' or 'edit'"


def check_answer(question: InputRequest, answer: InputAnswer, *, max_chars: int) -> None:
    """Raises ``InvalidRequest`` that names the field when the answer is not of the question's kind or breaks its schema or choices."""
    _check_value(answer.value, max_chars)
    if question.kind == "approval":
        _check_approval(question, answer)
        return
    if answer.decision is not None:
        raise InvalidRequest(f"'decision' is for approvals; answer this {question.kind!r} with 'value'", param="decision")
    if question.kind == "choice":
        _check_choice(answer.value, question.choices or ())
    elif question.kind == "text":
        if not isinstance(answer.value, str) or not answer.value.strip():
            raise InvalidRequest("'value' must be a text that says something", param="value")
    else:
        _check_form(answer.value, question.json_schema)


def _check_approval(question: InputRequest, answer: InputAnswer) -> None:
    if answer.decision is None:
        raise InvalidRequest(f"'decision' is missing; answer this approval with {_DECISIONS}", param="decision")
    if answer.decision != "edit":
        if answer.value is not None:
            raise InvalidRequest(f"'value' goes with the decision 'edit' only; got {answer.decision!r}", param="value")
        return
    if question.json_schema is None:
        raise InvalidRequest("what is to be approved here cannot be edited; answer 'approve' or 'reject'", param="decision")
    _check_form(answer.value, question.json_schema)


def _check_choice(value: JsonValue, choices: Sequence[str]) -> None:
    if value not in choices:
        shown = ", ".join(repr(choice[:40]) for choice in choices[:8])
        raise InvalidRequest(
            f"'value' is {_short(value)}, which is not offered; choose one of {shown}{'…' if len(choices) > 8 else ''}", param="value"
        )


def _check_form(value: JsonValue, schema: JsonObject | None) -> None:
    if not isinstance(value, dict):
        raise InvalidRequest(f"'value' must be an object with the form's fields; got {_short(value)}", param="value")
    # Without a registry of its own jsonschema would fetch a reference to another schema over the network.
    validator = Draft202012Validator(schema or {}, registry=Registry(), format_checker=Draft202012Validator.FORMAT_CHECKER)
    try:
        error = next(iter(validator.iter_errors(value)), None)
    except Unresolvable as broken:
        raise InvalidRequest(
            f"the form's schema refers to {broken.ref!r}, which is not part of it, so that no 'value' can be checked; cancel the job", param="value"
        ) from None
    if error is not None:
        where = ".".join(["value", *(str(part) for part in error.absolute_path)])
        raise InvalidRequest(f"{where!r}: {error.message[:200]}; send what the form's schema asks for", param=where)


def _check_value(value: JsonValue, max_chars: int) -> None:
    text = json.dumps(value, ensure_ascii=False)
    if len(text) > max_chars:
        raise InputTooLong(f"'value' has {len(text)} characters as JSON, {max_chars} are allowed; shorten it", param="value")
    pending: list[JsonValue] = [value]
    while pending:
        part = pending.pop()
        if isinstance(part, str):
            _check_clean(part)
        elif isinstance(part, list):
            pending += part
        elif isinstance(part, dict):
            pending += [*part, *part.values()]


def _check_clean(text: str) -> None:
    try:
        check_text(text)
    except ValueError as error:
        raise InvalidRequest(f"'value' {error}", param="value") from None


def _short(value: JsonValue) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:50]}…"
