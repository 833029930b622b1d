"""No package reaches out by another way than the guarded one. The list is ruff's, in pyproject.toml; here it holds without ruff, for methods, and for
modules that are imported by name."""

import ast
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

import pytest

ROOT: Final = Path(__file__).parents[4]
PACKAGES: Final = ("tandem", "gateway", "router", "fast_model", "slow_worker", "tools", "ui")
METHODS: Final = frozenset({"create_connection", "create_unix_connection", "create_datagram_endpoint", "sock_connect", "sock_sendto"})
"""Of any event loop or socket module, which no import gives away."""
METHOD_FILES: Final = {
    "gateway/chat/pool.py",  # the hot path's upstream: a model server that the operator names
    "tandem/testing/*",  # tests talk to what they started
}


def _lint() -> Any:
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["ruff"]["lint"]


BANNED: Final = frozenset(_lint()["flake8-tidy-imports"]["banned-api"])
EXCEPTIONS: Final = tuple(pattern for pattern, rules in _lint()["per-file-ignores"].items() if "TID251" in rules)


def uses(source: str) -> Iterator[str]:
    """Banned names a module uses, however it imported them, and methods that connect."""
    if not any(all(part in source for part in name.split(".")) for name in BANNED | METHODS):
        return  # reading a tree takes a hundred times as long
    tree = ast.parse(source)
    known = dict(_imports(tree))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from (name for name in _imported(node) if _is_banned(name))
        elif isinstance(node, ast.Attribute):
            dotted = _dotted(node, known)
            if dotted and _is_banned(dotted):
                yield dotted
            elif node.attr in METHODS:
                yield f".{node.attr}"
        elif isinstance(node, ast.Call):
            yield from (name for name in _imported_by_name(node) if _is_banned(name))


def _imported(node: ast.Import | ast.ImportFrom) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [f"{node.module}.{alias.name}" for alias in node.names] if node.module else []


def _imported_by_name(node: ast.Call) -> list[str]:
    function = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id if isinstance(node.func, ast.Name) else ""
    if function not in {"import_module", "__import__"}:
        return []
    return [word.value for word in node.args if isinstance(word, ast.Constant) and isinstance(word.value, str)]


def _imports(tree: ast.Module) -> Iterator[tuple[str, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield (alias.asname, alias.name) if alias.asname else (alias.name.split(".")[0], alias.name.split(".")[0])
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                yield alias.asname or alias.name, f"{node.module}.{alias.name}"


def _dotted(node: ast.Attribute, known: dict[str, str]) -> str | None:
    parts: list[str] = [node.attr]
    value = node.value
    while isinstance(value, ast.Attribute):
        parts.append(value.attr)
        value = value.value
    if not isinstance(value, ast.Name) or value.id not in known:
        return None
    return ".".join([known[value.id], *reversed(parts)])


def _is_banned(name: str) -> bool:
    return any(name == banned or name.startswith(f"{banned}.") for banned in BANNED)


def modules() -> list[str]:
    return sorted(str(path.relative_to(ROOT)) for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def is_excepted(path: str, patterns: tuple[str, ...] | set[str]) -> bool:
    return any(fnmatchcase(path, pattern.replace("**", "*")) for pattern in patterns)


def test_no_module_connects_by_itself_but_those_with_a_reason() -> None:
    found = {path: sorted(set(uses((ROOT / path).read_text("utf-8")))) for path in modules()}
    wrong = {
        path: names
        for path, names in found.items()
        if names and not is_excepted(path, EXCEPTIONS) and not (all(name.startswith(".") for name in names) and is_excepted(path, METHOD_FILES))
    }
    assert wrong == {}


@pytest.mark.parametrize("pattern", [pattern for pattern in EXCEPTIONS if not pattern.startswith(("tests/", "bench/"))])
def test_no_exception_outlives_its_reason(pattern: str) -> None:
    excepted = [path for path in modules() if is_excepted(path, (pattern,))]
    assert any(True for path in excepted for _ in uses((ROOT / path).read_text("utf-8")))


@pytest.mark.parametrize(
    "source",
    [
        "import httpx\nhttpx.AsyncClient()",
        "import httpx as h\nh.get('x')",
        "from httpx import AsyncClient",
        "from httpx import AsyncClient as Innocent",
        "import requests",
        "from requests.sessions import Session",
        "import urllib.request\nurllib.request.urlopen('x')",
        "from urllib import request",
        "import http.client",
        "from http import client",
        "import aiohttp",
        "import httpcore",
        "import socket as s\ns.create_connection(('x', 1))",
        "import asyncio\nasyncio.open_connection('x', 1)",
        "async def f(loop): await loop.create_connection(object, 'x', 1)",
        "import trafilatura\ntrafilatura.fetch_url('x')",
        "from importlib import import_module\nimport_module('requests')",
        "def f():\n    import urllib3",
    ],
)
def test_the_check_sees_a_way_out(source: str) -> None:
    assert list(uses(source))


@pytest.mark.parametrize(
    "source",
    ["import httpx\nhttpx.Timeout(5)", "from http import HTTPStatus", "from urllib.parse import urlsplit", "import socket\nsocket.gethostname()"],
)
def test_the_check_leaves_the_rest_alone(source: str) -> None:
    assert not list(uses(source))
