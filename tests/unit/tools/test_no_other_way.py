"""No text becomes a running program anywhere but inside the sandbox: a walk over the syntax of everything that serves requests and jobs."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[3]
BOOTSTRAP = Path("tools/sandbox/bootstrap.py")
"""The one file that executes text; it runs inside the sandbox and is never imported."""
BUILTINS = {"exec", "eval", "compile", "__import__"}
CALLS = {
    ("os", "system"),
    ("os", "popen"),
    ("os", "execv"),
    ("os", "execve"),
    ("os", "execvp"),
    ("os", "spawnv"),
    ("os", "spawnvp"),
    ("pty", "spawn"),
    ("runpy", "run_path"),
    ("runpy", "run_module"),
    ("pickle", "loads"),
    ("pickle", "load"),
    ("marshal", "loads"),
    ("asyncio", "create_subprocess_shell"),
    ("subprocess", "getoutput"),
    ("subprocess", "getstatusoutput"),
    ("code", "interact"),
}


def ways(source: str) -> Iterator[str]:
    """Calls that run text, whatever it is called with."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        match node.func:
            case ast.Name(id=name) if name in BUILTINS:
                yield f"{node.lineno}: {name}()"
            case ast.Attribute(value=ast.Name(id=module), attr=name) if (module, name) in CALLS or (module == "builtins" and name in BUILTINS):
                yield f"{node.lineno}: {module}.{name}()"
            case _:
                pass
        if any(keyword.arg == "shell" and not _is_false(keyword.value) for keyword in node.keywords):
            yield f"{node.lineno}: shell="


def _is_false(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) and value.value is False


FILES = [
    path for package in ("tools", "slow_worker", "gateway", "router", "fast_model", "ui") for path in sorted((REPOSITORY / package).rglob("*.py"))
]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_runs_no_text(path: Path) -> None:
    if path.relative_to(REPOSITORY) == BOOTSTRAP:
        pytest.skip("runs inside the sandbox; the next test shows that nobody imports it")

    assert list(ways(path.read_text(encoding="utf-8"))) == []


def test_nobody_imports_what_runs_inside_the_sandbox() -> None:
    importing = [
        path for path in FILES if "sandbox.bootstrap" in path.read_text(encoding="utf-8") or "import bootstrap" in path.read_text(encoding="utf-8")
    ]

    assert importing == []


@pytest.mark.parametrize(
    "source",
    [
        "exec(x)",
        "eval('1')",
        "import os\nos.system('ls')",
        "subprocess.run('ls', shell=True)",
        "subprocess.run(x, shell=y)",
        "pickle.loads(b'')",
        "builtins.exec(x)",
    ],
)
def test_the_walk_finds_what_it_looks_for(source: str) -> None:
    assert list(ways(source))
