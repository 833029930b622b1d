"""Arguments as logs, events and approvals may show them: long texts cut, what looks like a secret masked; and the digest that stands for the whole.

Covered: values under names that speak of secrets, bearer tokens, known keys, JSON web tokens, credentials and secret parameters in addresses.
Not covered: a secret without shape under an innocent name; tools get their secrets at the way out (``tandem/egress``), so none need be in arguments.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Final

from pydantic import JsonValue

from tandem.schemas.base import JsonObject

MASK: Final = "•••"
_LONGEST_TEXT: Final = 300
_MOST_ITEMS: Final = 20
_DEEPEST: Final = 4
_SECRET_NAME: Final = re.compile(
    r"passw|passphrase|secret|token|api[-_ ]?key|access[-_ ]?key|private[-_ ]?key|authori[sz]ation|cookie|credential|密码|口令|密钥|令牌",
    re.IGNORECASE,
)
_SECRET: Final = re.compile(
    r"\b(?:bearer|basic)\s+[\w.~+/=-]{8,}"
    r"|\b(?:sk|pk|rk|ghp|gho|ghs|github_pat|glpat|xox[abps]|AKIA|ASIA|AIza|tnd|key)[-_]?[A-Za-z0-9_-]{16,}"
    r"|\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
    re.IGNORECASE | re.DOTALL,
)
_CREDENTIALS: Final = re.compile(r"(?<=://)[^/\s@]+(?=@)")
_PARAMETER: Final = re.compile(r"([?&][^=&\s]*(?:token|secret|key|passw|sig)[^=&\s]*=)[^&\s#]+", re.IGNORECASE)


def canonical_json(arguments: Mapping[str, JsonValue]) -> str:
    """One text for equal arguments."""
    return json.dumps(arguments, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def digest(arguments: Mapping[str, JsonValue]) -> str:
    """SHA-256 of the canonical JSON."""
    return hashlib.sha256(canonical_json(arguments).encode("utf-8", "surrogatepass")).hexdigest()


def redacted(arguments: Mapping[str, JsonValue], longest: int = _LONGEST_TEXT) -> JsonObject:
    """The arguments as they may be shown, each text cut at ``longest`` characters."""
    return {masked(name): _shown_under(name, value, 1, longest) for name, value in arguments.items()}


def masked(text: str, longest: int = _LONGEST_TEXT) -> str:
    """A text with its secrets masked, cut at ``longest`` characters."""
    text = _PARAMETER.sub(rf"\1{MASK}", _CREDENTIALS.sub(MASK, _SECRET.sub(MASK, text)))
    return text if len(text) <= longest else f"{text[:longest]}… ({len(text)} characters)"


def _shown_under(name: str, value: JsonValue, depth: int, longest: int) -> JsonValue:
    return MASK if _SECRET_NAME.search(name) and value not in (None, "") else _shown(value, depth, longest)


def _shown(value: JsonValue, depth: int, longest: int) -> JsonValue:
    match value:
        case str():
            return masked(value, longest)
        case dict() | list() if depth >= _DEEPEST:
            return "…"
        case dict():
            return {masked(name): _shown_under(name, value[name], depth + 1, longest) for name in list(value)[:_MOST_ITEMS]}
        case list():
            return [_shown(item, depth + 1, longest) for item in value[:_MOST_ITEMS]]
        case _:
            return value
