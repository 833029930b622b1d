"""The tools ``http_request`` and ``http_write``: the operator's list of web services, and nothing else.

Which hosts, methods and paths may be asked, and which secret goes to which host, stands in the operator's file (``tandem/egress/secrets.py``); the
guarded way out adds the secret and masks it in the answer, so neither a model nor a job's records ever hold it.

Covered: a host, method or path that is not listed, also by a redirect; headers that would carry credentials or change the target; private addresses
that the operator did not mark as private; slow, huge and compressed answers. Not covered: what a listed service does with what it is sent. Knows no
job and no approval: that ``http_write`` changes something is said in its declaration, and acted upon by whoever calls tools.
"""

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, cast

from pydantic import JsonValue

from tandem.egress import FetchLimits, GuardedClient, Response, SecretBook
from tandem.errors import EgressDenied
from tandem.ports import ToolContext
from tandem.schemas.base import JsonObject
from tandem.schemas.tools import Citation, ToolExample, ToolFault, ToolResult, ToolSpec
from tandem.settings import ToolSettings
from tools.base import INVALID_ARGUMENTS, refused
from tools.offers import Offer, Supplies

READS: Final = ("GET", "HEAD")
WRITES: Final = ("POST", "PUT", "PATCH", "DELETE")
REQUEST_HEADERS: Final = frozenset({
    "accept",
    "accept-language",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-unmodified-since",
    "prefer",
    "range",
})
"""What a model may set. Credentials, cookies and framing are never its business."""
ANSWER_HEADERS: Final = frozenset({
    "content-language",
    "content-range",
    "content-type",
    "etag",
    "last-modified",
    "link",
    "location",
    "retry-after",
    "x-total-count",
})
"""What a model gets to see."""
LIMITS: Final = FetchLimits(timeout_s=20.0, max_bytes=131_072)
_SHOWN_LINES: Final = 12
_TEXTUAL: Final = re.compile(
    r"text/|application/(?:[a-z.+-]*[+])?(?:json|xml|yaml|javascript|x-ndjson|x-www-form-urlencoded)|image/svg", re.IGNORECASE
)
_CHARSET: Final = re.compile(r"charset=\"?([A-Za-z0-9_.:-]+)")
_TRANSIENT: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
_HEADERS_SCHEMA: Final[JsonObject] = {
    "type": "object",
    "description": f"Only {', '.join(sorted(REQUEST_HEADERS))}.",
    "additionalProperties": {"type": "string", "maxLength": 500, "pattern": "^[ -~]*$"},
    "maxProperties": len(REQUEST_HEADERS),
}
_URL_SCHEMA: Final[JsonObject] = {"type": "string", "minLength": 8, "maxLength": 2048, "description": "Whole address, with its query."}

SPEC: Final = ToolSpec(
    name="http_request",
    description="Reads from a web service that the operator lists. Credentials are added by themselves.",
    parameters={
        "type": "object",
        "properties": {"url": _URL_SCHEMA, "method": {"enum": list(READS), "default": "GET"}, "headers": _HEADERS_SCHEMA},
        "required": ["url"],
        "additionalProperties": False,
    },
    side_effect="read_external",
    taints=True,
    url_arguments=["url"],
    timeout_s=25.0,
    needs=["egress", "configuration"],
    examples=[ToolExample(arguments={"url": "https://api.example.com/v1/items?limit=5"}, note="the first five items")],
)
WRITE_SPEC: Final = ToolSpec(
    name="http_write",
    description="Changes something at a web service that the operator lists. Credentials are added by themselves.",
    parameters={
        "type": "object",
        "properties": {
            "url": _URL_SCHEMA,
            "method": {"enum": list(WRITES)},
            "headers": _HEADERS_SCHEMA,
            "json": {"description": "Body as JSON; or give 'text'."},
            "text": {"type": "string", "maxLength": 100_000, "description": "Body as text; or give 'json'."},
            "content_type": {"type": "string", "maxLength": 100, "pattern": "^[!-~ ]+$", "description": "Of 'text'; text/plain unless given."},
        },
        "required": ["url", "method"],
        "not": {"required": ["json", "text"]},
        "additionalProperties": False,
    },
    side_effect="write",
    taints=True,
    url_arguments=["url"],
    timeout_s=25.0,
    needs=["egress", "configuration"],
    examples=[ToolExample(arguments={"url": "https://api.example.com/v1/items", "method": "POST", "json": {"name": "new"}}, note="a new item")],
)


async def offer(supplies: Supplies) -> Sequence[Offer]:
    """Both tools, each if the operator lists a method for it. Raises ``SettingsInvalid`` when the list is there and cannot be used."""
    specs = ((SPEC, READS), (WRITE_SPEC, WRITES))
    book = _book(supplies)
    if book is None:
        reason = "no web service is listed; an operator can list some in TANDEM_HOME/http.json (TANDEM_TOOLS_HTTP_FILE)"
        return [Offer(spec, None, reason) for spec, _ in specs]
    return [_offer(spec, methods, supplies.egress, book) for spec, methods in specs]


@dataclass(frozen=True, slots=True)
class HttpTool:
    """One of the two tools, on the operator's list."""

    spec: ToolSpec
    egress: GuardedClient
    book: SecretBook

    async def run(self, arguments: Mapping[str, JsonValue], context: ToolContext) -> ToolResult:
        method, url = str(arguments.get("method", "GET")), str(arguments["url"])
        headers = {name.lower(): str(value) for name, value in cast("JsonObject", arguments.get("headers", {})).items()}
        if strange := sorted(headers.keys() - REQUEST_HEADERS):
            return refused(f"the header {strange[0]!r} may not be set; only {', '.join(sorted(REQUEST_HEADERS))}", INVALID_ARGUMENTS)
        body, content_type = _body(arguments)
        if body is not None:
            headers["content-type"] = content_type
        is_write = method in WRITES
        if is_write:
            headers["idempotency-key"] = f"{context.job_id}-{context.call_id}"[:200]
        try:
            response = await self.egress.fetch(
                url, method=method, headers=headers, body=body, rules=self.book.rules, limits=LIMITS, secrets=self.book
            )
        except EgressDenied as error:
            return refused(error.message, error.code)
        except TimeoutError:
            return refused(f"the service did not answer in time{_DOUBT if is_write else ''}", "timeout", retryable=not is_write)
        except ConnectionError as error:
            return refused(f"the connection failed: {error}{_DOUBT if is_write else ''}", "connection_failed", retryable=not is_write)
        return _told(response, is_write=is_write)


_DOUBT: Final = "; whether it did what was asked is unknown, so look before you ask again"


def _offer(spec: ToolSpec, methods: Sequence[str], egress: GuardedClient, book: SecretBook) -> Offer:
    lines = book.listed(frozenset(methods))
    if not lines:
        return Offer(spec, None, f"the operator's list of web services has none with {', '.join(methods)}")
    more = "" if len(lines) <= _SHOWN_LINES else " and more"
    description = f"{spec.description} You may ask (* is anything below): {'; '.join(lines[:_SHOWN_LINES])}{more}."
    return Offer(spec, HttpTool(spec.model_copy(update={"description": description}), egress, book))


def _book(supplies: Supplies) -> SecretBook | None:
    settings: ToolSettings = supplies.settings.tools
    path = settings.http_file or supplies.settings.home / "http.json"
    if settings.http_file is None and not path.exists():
        return None
    return SecretBook.load(path, os.environ)


def _body(arguments: Mapping[str, JsonValue]) -> tuple[bytes | None, str]:
    if "json" in arguments:
        return json.dumps(arguments["json"], ensure_ascii=False).encode("utf-8", "replace"), "application/json"
    if "text" in arguments:
        return str(arguments["text"]).encode("utf-8", "replace"), str(arguments.get("content_type", "text/plain; charset=utf-8"))
    return None, ""


def _told(response: Response, *, is_write: bool) -> ToolResult:
    headers = {name: value for name, value in response.headers.items() if name in ANSWER_HEADERS}
    output: JsonObject = {"status": response.status, "url": response.url, "headers": dict(headers), "body": _shown(response)}
    fault = None
    if response.status >= 400:
        is_retryable = response.status in _TRANSIENT and not is_write
        fault = ToolFault(code="http_status", message=f"the service answered {response.status}; its words are in 'body'", retryable=is_retryable)
    return ToolResult(ok=fault is None, output=output, error=fault, is_truncated=response.is_truncated, citations=[Citation(source=response.url)])


def _shown(response: Response) -> JsonValue:
    """The body as JSON where it is, else as text; other kinds are named, not shown."""
    kind = response.headers.get("content-type", "text/plain")
    if not response.body:
        return ""
    if not _TEXTUAL.match(kind):
        return f"<{len(response.body)} bytes of {kind[:100]}, which this tool does not show>"
    if "json" in kind.lower() and not response.is_truncated:
        try:
            return cast("JsonValue", json.loads(response.body))
        except (ValueError, RecursionError):
            return _text(response.body, kind)
    return _text(response.body, kind)


def _text(body: bytes, kind: str) -> str:
    charset = _CHARSET.search(kind)
    try:
        return body.decode(charset[1] if charset else "utf-8", "replace")
    except LookupError:
        return body.decode("utf-8", "replace")
