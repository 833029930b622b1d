"""``python -m gateway.openapi --write|--check FILE``: the document of every door, made from the code that serves them.

The hot path is no route of the framework's; its schema comes from the very types that decode it.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any, Final

import msgspec

from gateway.app import PUBLIC_PATHS, create_api
from gateway.chat.door import PATH
from gateway.chat.request import ChatBody
from tandem.schemas.errors import ErrorBody

_REF: Final = "#/components/schemas/{name}"
_ERROR: Final = {
    "description": "Every refusal has this shape.",
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorBody"}}},
}
_HEADERS: Final = {
    "X-Tandem-Decision": "Id of the routing decision.",
    "X-Tandem-Lane": "`fast` or `slow`.",
    "X-Tandem-Band": "`fast`, `check` (the fast answer was tested) or `slow`.",
    "X-Tandem-Job": "Id of the job a slow turn became, or that worked a doubtful fast answer out anew.",
}

Document = dict[str, Any]
"""An OpenAPI document: JSON by nature, so its values stay untyped here."""


def main(arguments: list[str] | None = None) -> int:
    """Write the document, or compare it with the committed one."""
    parser = argparse.ArgumentParser(prog="python -m gateway.openapi", description="The OpenAPI document of every door.")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--write", type=Path, metavar="FILE", help="write the document")
    what.add_argument("--check", type=Path, metavar="FILE", help="fail when FILE is not the document")
    asked = parser.parse_args(arguments)
    text = json.dumps(document(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    if asked.write:
        asked.write.write_text(text, encoding="utf-8")
        return 0
    if asked.check.exists() and asked.check.read_text(encoding="utf-8") == text:
        return 0
    sys.stderr.write(f"{asked.check} is not what the doors say; run: make openapi, and review the difference\n")
    return 1


def document() -> Document:
    """The whole document."""
    found = create_api().openapi()
    schemas: Document = found["components"]["schemas"]
    schemas.pop("HTTPValidationError", None)
    schemas.pop("ValidationError", None)
    schemas["ErrorBody"], details = _pydantic_schema()
    schemas |= details
    found["paths"][PATH] = {"post": _chat_operation(schemas)}
    found["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer", "description": "An API key, `tdm_…`."}}
    for path, operations in found["paths"].items():
        for operation in operations.values():
            operation["responses"].pop("422", None)
            operation["responses"] |= {"4XX": _ERROR, "5XX": _ERROR}
            operation["security"] = [] if path in PUBLIC_PATHS else [{"key": []}]
    return found


def _pydantic_schema() -> tuple[Document, Document]:
    schema = ErrorBody.model_json_schema(ref_template=_REF.replace("{name}", "{model}"))
    return schema, schema.pop("$defs", {})


def _chat_operation(schemas: Document) -> Document:
    (body,), components = msgspec.json.schema_components([ChatBody], ref_template=_REF)
    schemas |= components
    streamed = {"type": "string", "description": "Chunks as server-sent events, ended by `[DONE]`; a slow turn's progress is `reasoning_content`."}
    answer = {"type": "object", "description": "OpenAI's chat completion; `metadata.job_id` names the job of a slow turn."}
    return {
        "tags": ["chat"],
        "summary": "Chat",
        "operationId": "chat",
        "description": "OpenAI's chat completions. `auto` routes, `fast` and `slow` force a lane; a slow turn is a job that outlives the connection. "
        "Fields not listed pass through to the fast model untouched.",
        "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
        "responses": {
            "200": {
                "description": "The answer.",
                "headers": {name: {"description": text, "schema": {"type": "string"}} for name, text in _HEADERS.items()},
                "content": {"application/json": {"schema": answer}, "text/event-stream": {"schema": streamed}},
            }
        },
    }


if __name__ == "__main__":
    sys.exit(main())
