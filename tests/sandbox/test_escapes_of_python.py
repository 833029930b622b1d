"""The attempts that make sense without files and a kernel, against the tool ``python``: its interpreter has nothing to climb."""

import asyncio
from collections.abc import Callable, Generator

import pytest

from tandem.ids import JobId, TenantId
from tandem.ports import ToolContext
from tandem.schemas.tools import ToolResult
from tests.sandbox.conftest import Canaries
from tools.python_exec import PythonTool, SandboxLimits, best_binary
from tools.wrappers import guarded

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

ATTEMPTS = {
    "1 reads the passwd file": "open('/etc/passwd').read()",
    "2 lists the root": "import os\nos.listdir('/')",
    "3 reads an environment": "open('/proc/self/environ').read()",
    "4 writes a file": "from pathlib import Path\nPath('/tmp/x').write_text('x')",
    "5 makes a link": "import os\nos.symlink('/etc', 'etc')",
    "7 opens a kernel setting": "import os\nos.open('/proc/sys/kernel/core_pattern', 1)",
    "8 connects": "import socket\nsocket.create_connection(('127.0.0.1', {tcp}))",
    "13 makes a namespace": "import os\nos.unshare(0x10000000)",
    "17 raises its limits": "import resource\nresource.setrlimit(resource.RLIMIT_AS, (1, 1))",
    "19 becomes root": "import os\nos.setuid(0)",
    "21 walks the subclasses": "().__class__.__bases__[0].__subclasses__()",
    "22 walks by a format string": "def f(): pass\n'{{0.__globals__}}'.format(f)",
    "23 climbs from a traceback": "try:\n    1 / 0\nexcept ZeroDivisionError as e:\n    x = e.__traceback__.tb_frame.f_globals\nx",
    "24 climbs from a generator": "(n for n in [1]).gi_frame.f_globals",
    "25 imports by the builtins": "__builtins__['__import__']('os').system('id')",
    "26 calls C": "import ctypes\nctypes.CDLL(None).system(b'id')",
    "27 loads a pickle": "import pickle\npickle.loads(b'cos\\nsystem\\n(S\"id\"\\ntR.')",
    "28 sets a hook": "import sys\nsys.settrace(print)",
    "29 runs code at definition": "def f(x=__import__('os').system('id')):\n    pass",
    "38 forks": "import os\nos.fork()",
    "39 starts threads": "import threading\nthreading.Thread(target=print).start()",
    "46 kills": "import os\nos.kill(-1, 9)",
    "executes text that reads": "exec(\"open('/etc/passwd').read()\")",
    "evaluates text that imports": "eval(\"__import__('os').system('id')\")",
    "asks a person": "input()",
}


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Generator[Callable[[str], ToolResult]]:
    tool = PythonTool(SandboxLimits(seconds=1.0, workers=1), best_binary(tmp_path_factory.mktemp("run")))
    context = ToolContext(tenant=TenantId("t"), job_id=JobId("job_1"), call_id="c1")
    with asyncio.Runner() as runner:
        yield lambda code: runner.run(guarded(tool).run({"code": code}, context))
        runner.run(tool.close())


@pytest.mark.parametrize("code", ATTEMPTS.values(), ids=ATTEMPTS)
def test_is_refused_and_reaches_nothing(python: Callable[[str], ToolResult], canaries: Canaries, code: str) -> None:
    before = (canaries.hits, canaries.file.read_bytes())

    result = python(code.format(tcp=canaries.addresses["tcp"]) if "{tcp}" in code or "{{" in code else code)

    assert (result.ok, result.error is not None) == (False, True), result.output
    assert (canaries.hits, canaries.file.read_bytes()) == before


def test_an_object_comes_back_as_the_name_of_its_class(python: Callable[[str], ToolResult]) -> None:
    result = python("class Trap:\n    def __repr__(self):\n        while True:\n            pass\nTrap()")

    assert isinstance(result.output, str)
    assert result.output.startswith("<")
