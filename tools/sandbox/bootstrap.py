"""What runs inside the sandbox, as ``python -I -S -c <this file> <settings>``: it gives up its identity, limits itself, and then reads a program.

The only place of the project that executes text as Python, and it is never imported. Standard library only, since nothing of Tandem is visible in
there. What it sends back is data to be distrusted: the program ran in the same process. Without settings it is ``main.py`` of a remote sandbox, which
confines by itself: it takes ``program.py`` beside it and a line of JSON on its input, and prints its reply behind the marker that it was given.

Request on descriptor 0: four bytes of length, a JSON head ``{"code", "files": [[name, size]]}``, the files. Reply: the same form with
``{"value", "error", "files": [[name, size]], "left_out"}`` on a descriptor that ends up as 0, so that a program finds 0 to 2 and no other.
"""

from __future__ import annotations

import ast
import json
import os
import resource
import sys
from contextlib import suppress
from pathlib import Path
from types import CodeType, ModuleType

TYPE_CHECKING = False
if TYPE_CHECKING:
    # Loading what a call does not need would be a tenth of its start.
    from typing import Any

PROGRAM = "<program>"
SCRATCH = Path.cwd()
DEEPEST = 24
IMAGES = (".png", ".jpg", ".jpeg", ".svg", ".pdf", ".gif", ".webp")


class Plain:
    """Turns any value into JSON, up to a number of nodes; the rest is left out and told."""

    def __init__(self, nodes: int = 20_000, text: int = 65_536) -> None:
        self.nodes = nodes
        self.text = text
        self.is_cut = False

    def value(self, value: Any, depth: int = 0) -> Any:
        self.nodes -= 1
        if value is None or isinstance(value, bool | float):
            return value
        if isinstance(value, int):
            return int(value) if abs(value) < 2**63 else self.words(value)
        if isinstance(value, str):
            return self.cut(str(value))
        if depth > DEEPEST:
            return "..."
        return self.container(value, depth) if isinstance(value, dict | list | tuple | set | frozenset) else self.foreign(value, depth)

    def container(self, value: Any, depth: int) -> Any:
        if isinstance(value, dict):
            return {self.words(key): self.value(item, depth + 1) for key, item in self.some(value.items())}
        items = [self.value(item, depth + 1) for item in self.some(value)]
        return sorted(items, key=str) if isinstance(value, set | frozenset) else items

    def some(self, items: Any) -> Any:
        for item in items:
            if self.nodes <= 0:
                self.is_cut = True
                return
            yield item

    def foreign(self, value: Any, depth: int) -> Any:
        """NumPy and pandas by what they can do, so that neither has to be loaded; everything else as its own words."""
        if hasattr(value, "to_dict") and hasattr(value, "columns"):
            head = value.head(100)
            self.is_cut = self.is_cut or len(value) > 100
            return {
                "columns": [self.words(name) for name in head.columns],
                "rows": self.value(head.to_numpy().tolist(), depth),
                "row_count": len(value),
            }
        if hasattr(value, "to_dict") and hasattr(value, "index"):
            return self.value(value.to_dict(), depth)
        if hasattr(value, "tolist") and hasattr(value, "ravel"):
            self.is_cut = self.is_cut or value.size > self.nodes
            return self.value(value.ravel()[: self.nodes].tolist() if value.size > self.nodes else value.tolist(), depth)
        if hasattr(value, "item") and hasattr(value, "dtype"):
            return self.value(value.item(), depth + 1)
        return value.isoformat() if hasattr(value, "isoformat") else self.words(value)

    def words(self, value: Any) -> str:
        try:
            return self.cut(str(value))
        except Exception:  # noqa: BLE001 - a stranger's __str__ may do anything, also refuse thousands of digits
            return f"<{type(value).__name__}>"

    def cut(self, text: str) -> str:
        kept, self.text = text[: max(self.text, 0)], self.text - len(text)
        self.is_cut = self.is_cut or len(kept) < len(text)
        return kept


def confine(settings: dict[str, Any]) -> None:
    """Limits first, identity last; after it nothing in here can be undone."""
    for name, value in settings["limits"].items():
        limit = getattr(resource, name)
        _, ceiling = resource.getrlimit(limit)
        bound = value if ceiling == resource.RLIM_INFINITY else min(value, ceiling)
        resource.setrlimit(limit, (bound, bound))
    if (uid := settings["uid"]) is not None:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)


def exactly(size: int) -> bytes:
    """So many bytes of the request; fewer where it ends."""
    parts: list[bytes] = []
    while size > 0 and (part := os.read(0, min(size, 1 << 20))):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def receive() -> str:
    """The program; the files that come with it are put into the scratch folder."""
    head = json.loads(exactly(int.from_bytes(exactly(4), "big")))
    for name, size in head["files"]:
        (SCRATCH / name).write_bytes(exactly(size))
    make_out()
    return head["code"]


def make_out() -> None:
    """A folder for results, unless a file has its name."""
    with suppress(FileExistsError):
        (SCRATCH / "out").mkdir()


def prepare_plots(packages: str) -> None:
    """Matplotlib looks at every font of the machine unless it finds the list that was made when it was installed."""
    made, own = Path(packages, ".matplotlib"), SCRATCH / ".matplotlib"
    own.mkdir()
    for file in made.iterdir() if made.is_dir() else ():
        (own / file.name).write_bytes(file.read_bytes())


def parts_of(code: str) -> tuple[CodeType, CodeType | None, bool]:
    """The program without its last expression, that expression, and whether ``solve()`` is still to be called."""
    tree = ast.parse(code, PROGRAM)
    defines = any(isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == "solve" for node in tree.body)
    top = [node for node in tree.body if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)]
    calls = any(isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "solve" for part in top for node in ast.walk(part))
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    final = compile(ast.Expression(last.value), PROGRAM, "eval") if isinstance(last, ast.Expr) else None
    return compile(tree, PROGRAM, "exec"), final, defines and not calls


def run(code: str) -> Any:
    """The value of the program."""
    body, final, is_solve_due = parts_of(code)
    module = ModuleType("__main__")
    sys.modules["__main__"] = module
    names = module.__dict__
    exec(body, names)  # noqa: S102 - the purpose of this file, and it is inside the sandbox
    value = eval(final, names) if final else None  # noqa: S307 - the same
    if is_solve_due:
        value = names["solve"]()
    return finished(value) if hasattr(value, "send") and hasattr(value, "cr_frame") else value


def finished(coroutine: Any) -> Any:
    """The result of a coroutine that waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    raise RuntimeError("no running event loop")


def save_figures(brought: dict[str, tuple[int, int]]) -> None:
    """What the program drew and did not save."""
    pyplot = sys.modules.get("matplotlib.pyplot")
    numbers: list[int] = pyplot.get_fignums() if pyplot else []
    if pyplot is None or sum(path.suffix.lower() in IMAGES for path in made_files(brought)) >= len(numbers):
        return
    for number in numbers:
        pyplot.figure(number).savefig(SCRATCH / f"plot-{number}.png", dpi=100, bbox_inches="tight")


def stamps() -> dict[str, tuple[int, int]]:
    """When each file that was brought was last written, and its size."""
    return {str(path): (path.stat().st_mtime_ns, path.stat().st_size) for path in SCRATCH.iterdir() if path.is_file()}


def made_files(brought: dict[str, tuple[int, int]]) -> list[Path]:
    """Regular files that the program made or changed, by name; links, hidden files and caches are none of them."""
    found: list[Path] = []
    for folder, folders, names in os.walk(SCRATCH):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__pycache__")))
        paths = [Path(folder, name) for name in sorted(names) if not name.startswith(".")]
        found += [path for path in paths if path.is_file() and not path.is_symlink()]
    return [path for path in found if brought.get(str(path)) != (path.stat().st_mtime_ns, path.stat().st_size)]


def collect(brought: dict[str, tuple[int, int]], most: int, most_bytes: int) -> tuple[list[tuple[str, bytes]], list[str]]:
    """The files to be kept, and those that are too many or too large."""
    kept: list[tuple[str, bytes]] = []
    left_out: list[str] = []
    for path in made_files(brought):
        name = str(path.relative_to(SCRATCH)).removeprefix("out/")
        if len(kept) >= most or path.stat().st_size > most_bytes:
            left_out.append(name)
            continue
        with suppress(OSError):
            kept.append((name, path.read_bytes()))
            most_bytes -= len(kept[-1][1])
    return kept, left_out[:20]


def fault(error: BaseException) -> dict[str, Any]:
    """What a model needs to mend its program."""
    frames: list[tuple[str, int]] = []
    trace = error.__traceback__
    while trace is not None:
        frames.append((trace.tb_frame.f_code.co_filename, trace.tb_lineno))
        trace = trace.tb_next
    lines = [line for name, line in frames if name == PROGRAM]
    line = error.lineno if isinstance(error, SyntaxError) else (lines[-1] if lines else None)
    where = next((part for part in ("asyncio", "subprocess.py", "socket.py") if any(part in name for name, _ in frames)), "")
    return {
        "type": type(error).__name__,
        "message": Plain(text=2_000).words(error),
        "line": line,
        "where": where,
        "errno": getattr(error, "errno", None),
    }


def attempt(code: str, brought: dict[str, tuple[int, int]], settings: dict[str, Any]) -> dict[str, Any]:
    """Run the program to its end; whatever it raises is an answer, also what no ``except Exception`` would catch."""
    try:
        if ("matplotlib" in code or ".plot" in code) and settings["packages"]:
            prepare_plots(settings["packages"])
        value = run(code)
        save_figures(brought)
    except SystemExit as end:
        return {"value": None, "error": None} if end.code in {0, None} else {"value": None, "error": fault(end)}
    except BaseException as error:  # noqa: BLE001 - the border between a program and its caller
        return {"value": None, "error": fault(error)}
    plain = Plain()
    return {"value": plain.value(value), "error": None, "is_cut": plain.is_cut}


def main() -> None:
    """From confinement to the reply; never returns."""
    settings = json.loads(sys.argv[1])
    confine(settings)
    code = receive()
    os.dup2(settings["reply"], 0)
    os.close(settings["reply"])
    sys.stdin = None
    # What goes wrong while objects are taken down is noise beside the error that the program ended with.
    sys.unraisablehook = lambda _: None
    sys.argv = ["program.py"]
    sys.path[:] = [str(SCRATCH), *(part for part in sys.path if part), *([settings["packages"]] if settings["packages"] else [])]
    sys.stdout.reconfigure(line_buffering=True)  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    brought = stamps()
    reply = attempt(code, brought, settings)
    for stream in (sys.stdout, sys.__stdout__, sys.stderr):
        with suppress(Exception):
            stream.flush()  # pyright: ignore[reportOptionalMemberAccess]
    files, reply["left_out"] = collect(brought, settings["max_files"], settings["max_file_bytes"])
    reply["files"] = [[name, len(content)] for name, content in files]
    head = json.dumps(reply).encode()
    for part in (len(head).to_bytes(4, "big"), head, *(content for _, content in files)):
        send(part)
    os._exit(0)


def send(data: bytes) -> None:
    """All of it, however little the pipe takes at a time."""
    view = memoryview(data)
    while view:
        view = view[os.write(0, view) :]


def main_from_afar() -> None:
    """The same where somebody else's server runs it, with text for everything."""
    import base64  # noqa: PLC0415

    settings = json.loads(sys.stdin.readline())
    code = (SCRATCH / "program.py").read_text(encoding="utf-8")
    make_out()
    brought = stamps()
    reply = attempt(code, brought, {"packages": ""})
    files, reply["left_out"] = collect(brought, settings["max_files"], settings["max_file_bytes"])
    reply["files"] = [[name, base64.b64encode(content).decode()] for name, content in files]
    print(f"\n{settings['marker']}{json.dumps(reply)}", flush=True)  # noqa: T201 - the channel there is


if __name__ == "__main__":
    main() if len(sys.argv) == 2 else main_from_afar()
