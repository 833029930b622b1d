"""Writes the reference pages that the code itself knows best: settings, error codes, metrics, doors.

Run as ``python scripts/generate_docs.py --write`` after a change; ``--check`` fails when a page no longer matches the code.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from prometheus_client import CollectorRegistry
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from gateway.errors import rendering
from tandem.errors import TandemError
from tandem.settings import ENV_PREFIX, Section, Settings
from tandem.telemetry.metrics import new_metrics

DOCS = Path(__file__).resolve().parent.parent / "docs"
GENERATED = "<!-- written by scripts/generate_docs.py: edit the code, then run `make docs-reference` -->\n"


def _default(field: FieldInfo) -> str:
    value = field.default
    if field.default_factory is not None or value is PydanticUndefined:
        return ""
    if value is None:
        return "empty"
    return f"`{value}`"


def _kind(field: FieldInfo) -> str:
    choices = [str(item) for item in get_args(field.annotation) if isinstance(item, str)]
    return " or ".join(f"`{choice}`" for choice in choices)


def _rows(prefix: str, fields: dict[str, FieldInfo]) -> Iterator[str]:
    for key, field in fields.items():
        about = " ".join((field.description or "").split())
        choices = _kind(field)
        yield f"| `{ENV_PREFIX}{prefix}{key.upper()}` | {_default(field)} | {about}{f' One of {choices}.' if choices else ''} |"


def settings_page() -> str:
    """Every setting: environment variable, default, meaning."""
    lines = [
        "# Settings\n",
        GENERATED,
        "Strongest first: environment variables, then `tandem.toml` (the file named by `TANDEM_CONFIG`, else the one in `TANDEM_HOME`),",
        "then the defaults.",
        "In the file, `TANDEM_GATEWAY_PORT` is `port` in the section `[gateway]`; a setting without a section stands at the top.",
        "An unknown key or a bad value stops the start and names the key. An empty variable counts as unset.\n",
        "| variable | default | meaning |\n|---|---|---|",
        *_rows("", {name: field for name, field in Settings.model_fields.items() if not _section(field)}),
    ]
    for name, field in Settings.model_fields.items():
        if section := _section(field):
            lines += [f"\n## {name}\n", (section.__doc__ or "").strip() + "\n", "| variable | default | meaning |\n|---|---|---|"]
            lines += _rows(f"{name.upper()}_", _with_lane_defaults(field, section))
    return "\n".join(lines) + "\n"


def _section(field: FieldInfo) -> type[Section] | None:
    return field.annotation if isinstance(field.annotation, type) and issubclass(field.annotation, Section) else None


def _with_lane_defaults(field: FieldInfo, section: type[Section]) -> dict[str, FieldInfo]:
    """The section's fields with the defaults this place gives them (``slow`` differs from ``fast``)."""
    shown: dict[str, FieldInfo] = {}
    for key, inner in section.model_fields.items():
        value = getattr(field.default, key)
        own_default = FieldInfo(annotation=inner.annotation, default=value, description=inner.description)
        shown[key] = inner if inner.default_factory is not None else own_default
    return shown


def _tree(root: type[TandemError]) -> Iterator[type[TandemError]]:
    yield root
    for child in root.__subclasses__():
        if child.__module__ == TandemError.__module__:
            yield from _tree(child)


def errors_page() -> str:
    """Every stable error code with its HTTP status."""
    lines = [
        "# Errors\n",
        GENERATED,
        'Every error answer has OpenAI\'s shape, `{"error": {"message", "type", "code", "param"}}`. Branch on `code`: it is stable.',
        "`message` names the offending value and the remedy; `param` names the field. A failed job carries the same codes in its `error`.\n",
        "| code | HTTP status | when |\n|---|---|---|",
    ]
    seen: dict[str, str] = {}
    # A code is best told by the class that means nothing else; classes with children only where no child has their code.
    for cls in sorted(_tree(TandemError), key=lambda cls: bool(cls.__subclasses__()) and cls.__name__ not in {"InvalidRequest", "Conflict"}):
        if cls.code not in seen:
            seen[cls.code] = f"| `{cls.code}` | {rendering(cls('')).status} | {' '.join((cls.__doc__ or '').split())} |"
    return "\n".join([*lines, *sorted(seen.values())]) + "\n"


def metrics_page() -> str:
    """Every metric."""
    registry = CollectorRegistry()
    new_metrics(registry)
    lines = ["# Metrics\n", GENERATED, "`GET /metrics` answers in Prometheus' text format.\n", "| metric | type | meaning |\n|---|---|---|"]
    lines += sorted(f"| `{family.name}` | {family.type} | {family.documentation} |" for family in registry.collect())
    return "\n".join(lines) + "\n"


def doors_page() -> str:
    """Every door, from the committed ``openapi.json``."""
    paths = json.loads((DOCS.parent / "openapi.json").read_text(encoding="utf-8"))["paths"]
    lines = [
        "# All doors\n",
        GENERATED,
        "Every door but `/healthz`, `/readyz` and (on loopback) `/metrics` wants `Authorization: Bearer <key>`.",
        "The whole contract is `openapi.json`.\n",
        "| method | path | what it does |\n|---|---|---|",
    ]
    for path, operations in paths.items():
        for method, operation in operations.items():
            lines.append(f"| `{method.upper()}` | `{path}` | {' '.join(operation['description'].split())} |")
    return "\n".join(lines) + "\n"


PAGES = {"settings.md": settings_page, "errors.md": errors_page, "metrics.md": metrics_page, "doors.md": doors_page}


def _rendered(name: str) -> str:
    """The page, with the docstrings' double backticks as Markdown's single ones."""
    return PAGES[name]().replace("``", "`")


def main() -> int:
    """Write the pages, or say which are stale (exit 1)."""
    parser = argparse.ArgumentParser(description=__doc__)
    mode = parser.add_mutually_exclusive_group(required=True)
    mode.add_argument("--write", action="store_true")
    mode.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    stale = [name for name in PAGES if not (DOCS / name).exists() or (DOCS / name).read_text(encoding="utf-8") != _rendered(name)]
    if arguments.write:
        for name in stale:
            (DOCS / name).write_text(_rendered(name), encoding="utf-8")
    elif stale:
        sys.stderr.write(f"stale: {', '.join(stale)}; run `make docs-reference`\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
