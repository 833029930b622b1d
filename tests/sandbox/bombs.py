"""37 programs that use up a machine: time, memory, processes, descriptors, disk, output, the stack. All of them are Python that Monty reads, too."""

from types import MappingProxyType
from typing import Final

BOMBS: Final = MappingProxyType({
    "an endless loop": "while True:\n    pass",
    "an endless loop that catches everything": (
        "while True:\n    try:\n        while True:\n            pass\n    except BaseException:\n        pass"
    ),
    "a loop inside its own handler": "def again():\n    try:\n        1 / 0\n    finally:\n        while True:\n            pass\nagain()",
    "an endless generator": "sum(1 for _ in iter(int, 1))",
    "an endless iterator that is counted": "import itertools\nsum(1 for _ in itertools.count())",
    "an endless sequence made into a list": "import itertools\nlist(itertools.count())",
    "a list that grows": "x = []\nwhile True:\n    x.append('x' * 10000)",
    "a list that doubles": "x = [0]\nwhile True:\n    x = x + x",
    "a list of a million millions": "[0] * 10**12",
    "a tuple of lists of lists": "x = [0] * 1000\nwhile True:\n    x = [x, list(x), tuple(x)] * 100",
    "a text that doubles": "x = 'ab'\nwhile True:\n    x += x",
    "a text of ten gigabytes": "'x' * 10**10",
    "Chinese text that doubles": "x = '炸弹'\nwhile True:\n    x += x",
    "bytes of ten gigabytes": "bytes(10**10)",
    "a dictionary that grows": "x = {}\nwhile True:\n    x[len(x)] = 'x' * 1000",
    "a set that grows": "x = set()\nwhile True:\n    x.add(str(len(x)) * 100)",
    "padding to a billion columns": "'x'.ljust(10**10)",
    "a format with a billion columns": "f'{1:>10000000000}'",
    "replacing each letter by a megabyte": "('x' * 10**6).replace('x', 'y' * 10**6)",
    "joining a billion": "','.join(['x' * 10**6] * 10**5)",
    "a tower of powers": "9**9**9",
    "a square of squares": "x = 3\nfor _ in range(100):\n    x = x * x\nx",
    "a shift by ten thousand million": "1 << 10**10",
    "a factorial of ten million": "import math\nmath.factorial(10**7)",
    "a sum over a hundred thousand million": "sum(range(10**11))",
    "sorting without end": "x = list(range(10**6))\nwhile True:\n    x.sort(key=lambda each: -each)",
    "a backtracking expression": "import re\nre.match(r'(a+)+$', 'a' * 40 + 'b')",
    "a backtracking alternation": "import re\nre.search(r'(a|aa)+$', 'a' * 60 + 'b')",
    "twenty thousand parentheses": "(" * 20_000 + ")" * 20_000,
    "fifty thousand brackets": "[" * 50_000 + "]" * 50_000,
    "a hundred thousand minus signs": "-" * 100_000 + "1",
    "deep recursion": "def f(n):\n    return f(n + 1)\nf(0)",
    "recursion between two": "def f():\n    return g()\ndef g():\n    return f()\nf()",
    "the representation of a list nested a hundred thousand times": "x = []\nfor _ in range(100000):\n    x = [x]\nrepr(x)",
    "a list that holds itself": "x = []\nx.append(x)\nx == [x]",
    "output without end": "while True:\n    print('x' * 100000)",
    "a sleep of an hour": "import time\ntime.sleep(3600)\n",
})
"""By what they do."""

SYSTEM_BOMBS: Final = MappingProxyType({
    "a fork bomb": "import os\nwhile True:\n    try:\n        os.fork()\n    except OSError:\n        pass",
    "a tree of forks that eat memory": (
        "import os\nfor _ in range(6):\n    try:\n        os.fork()\n    except OSError:\n        pass\n"
        "x = []\nwhile True:\n    x.append(bytearray(1 << 20))"
    ),
    "a thousand threads": (
        "import threading, time\nstarted = 0\ntry:\n    for _ in range(1000):\n"
        "        threading.Thread(target=time.sleep, args=(60,)).start()\n        started += 1\n"
        "except RuntimeError:\n    pass\nstarted < 64"
    ),
    "a descriptor bomb": "x = []\ntry:\n    while True:\n        x.append(open('/dev/null'))\nexcept OSError:\n    pass\nlen(x) < 64",
    "a pipe bomb": "import os\nx = []\ntry:\n    while True:\n        x.append(os.pipe())\nexcept OSError:\n    pass\nlen(x) < 64",
    "a scratch folder that is full": (
        "try:\n    for number in range(1000):\n        with open(f'{number}', 'wb') as file:\n"
        "            file.write(bytes(1 << 22))\nexcept OSError:\n    pass\n"
        "import os\nsize = sum(each.stat().st_size for each in os.scandir('.'))\nfor each in os.listdir('.'):\n"
        "    if each != 'out':\n        os.remove(each)\nsize < 300 << 20"
    ),
    "shared memory that is full": (
        "try:\n    with open('/dev/shm/x', 'wb') as file:\n        for _ in range(1000):\n"
        "            file.write(bytes(1 << 20))\nexcept OSError:\n    pass\n"
        "import os\nos.stat('/dev/shm/x').st_size <= 4 << 20"
    ),
    "files without number": (
        "number = 0\ntry:\n    while True:\n        open(f'/dev/shm/{number}', 'w').close()\n        number += 1\nexcept OSError:\n    pass"
    ),
    "a sparse file of a terabyte": "with open('x', 'wb') as file:\n    file.truncate(1 << 40)",
    "ignoring every signal": (
        "import signal, time\nfor number in range(1, 65):\n    try:\n        signal.signal(number, signal.SIG_IGN)\n"
        "    except (OSError, ValueError):\n        pass\n"
        "time.sleep(3600)"
    ),
    "a daemon of a daemon": (
        "import os, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n"
        "        for number in (0, 1, 2):\n            os.close(number)\n"
        "        time.sleep(3600)\n    os._exit(0)\nos.wait()\n'left'"
    ),
    "closing its own pipes": (
        "import os, time\nfor number in range(64):\n    try:\n        os.close(number)\n    except OSError:\n        pass\ntime.sleep(3600)"
    ),
    "a segmentation fault": "import ctypes\nctypes.string_at(0)",
    "no recursion limit": "import sys\nsys.setrecursionlimit(10**9)\ndef f(n):\n    return f(n + 1)\nf(0)",
    "output without end from C": "import ctypes\nlibc = ctypes.CDLL(None)\nwhile True:\n    libc.write(1, b'x' * 65536, 65536)",
    "memory that no process has": (
        "import os\nx = []\ntry:\n    while True:\n        x.append(os.memfd_create('x'))\n"
        "        os.write(x[-1], bytes(1 << 22))\nexcept OSError:\n    pass\nlen(x)"
    ),
    "a reply without end": "import os\nwhile True:\n    os.write(0, b'\\x7f' * 65536)",
    "a reply that nests without end": "import os\nbody = b'[' * 100000\nos.write(0, len(body).to_bytes(4, 'big') + body)\nos._exit(0)",
    "a reply that promises files it has not": (
        "import json, os\nbody = json.dumps({'value': 1, 'error': None, 'files': [['../../x', 10**12]]}).encode()\n"
        "os.write(0, len(body).to_bytes(4, 'big') + body)\nos._exit(0)"
    ),
    "an answer of ten million numbers": "list(range(10**6))",
    "an array of a gigabyte": "import numpy\nnumpy.ones((1 << 27,))",
})
"""What only a full Python can try: processes, descriptors, files, signals, C, and the channel of the reply."""
