"""Attempts to get out of the sandbox, numbered as in the notes: what each tries, and what it may find at most."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

PRELUDE = """
import ctypes, errno, fcntl, os, platform, resource, signal, socket, struct, sys, time
HOST = {host!r}
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
NUMBERS = {{"x86_64": dict(clone=56, mount=165, ptrace=101, vm_read=310, bpf=321, keyctl=250, setns=308),
           "aarch64": dict(clone=220, mount=40, ptrace=117, vm_read=270, bpf=280, keyctl=219, setns=268)}}[platform.machine()]

def tried(action, *arguments):
    try:
        return ["did", str(action(*arguments))[:2000]]
    except BaseException as error:
        return ["refused", type(error).__name__]

def called(name, *arguments):
    number = NUMBERS[name] if isinstance(name, str) else name
    result = libc.syscall(ctypes.c_long(number), *(ctypes.c_long(each) if isinstance(each, int) else each for each in arguments))
    return "did" if result >= 0 else errno.errorcode[ctypes.get_errno()]

def in_child(action):
    child = os.fork()
    if child == 0:
        try:
            action()
        finally:
            os._exit(0)
    status = os.waitpid(child, 0)[1]
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else "lives"

def written(path):
    with open(path, "w") as file:
        return file.write("x")
"""


@dataclass(frozen=True, slots=True)
class Attempt:
    """A program, and the only answers that are no escape."""

    number: int
    title: str
    code: str
    expected: Sequence[Any]
    """Values that the program may return."""

    def program(self, host: Mapping[str, Any]) -> str:
        return PRELUDE.format(host=dict(host)) + self.code


def refused(*types: str) -> list[list[str]]:
    return [["refused", each] for each in types]


ABSENT = refused("FileNotFoundError", "PermissionError", "NotADirectoryError")
READ_ONLY = refused("OSError", "PermissionError", "FileNotFoundError")
EPERM = ["EPERM"]

ATTEMPTS = [
    Attempt(1, "reads the passwd file", "tried(lambda: open('/etc/passwd').read())", ABSENT),
    Attempt(
        2,
        "lists the root and the project",
        "ours = {'dev', 'lib', 'lib64', 'packages', 'proc', 'python', 'scratch', 'usr'}\n"
        "[sorted(set(os.listdir('/')) - ours), tried(os.listdir, HOST['project'])]",
        [[[], each] for each in ABSENT],
    ),
    Attempt(
        3,
        "looks for secrets in the worker's files and environments",
        "found = [tried(lambda path=path: open(path).read()) for path in (HOST['file'], '/proc/self/environ', '/proc/1/environ')]\n"
        "any(HOST['secret'] in str(each) or 'TANDEM' in str(each) for each in found) or HOST['secret'] in str(os.environ)",
        [False],
    ),
    Attempt(
        4,
        "writes outside of its folder",
        "paths = ['/x', '/usr/x', '/usr/lib/x', '/python/x', '/packages/x', '/packages/numpy/__init__.py', '/dev/x', '/proc/x', '/lib/x', '../x',\n"
        "         HOST['file'], '/tmp/x', '/etc/x']\n"
        "[path for path in paths if tried(written, path)[0] != 'refused']",
        [[]],
    ),
    Attempt(
        5,
        "writes through links out of its folder",
        "os.symlink('/etc', 'etc'); os.symlink(HOST['file'], 'file'); os.symlink('/proc/self/root/..', 'up')\n"
        "[tried(written, 'etc/x')[0], tried(written, 'file')[0], tried(written, 'up/x')[0]]",
        [["refused", "refused", "refused"]],
    ),
    Attempt(
        6,
        "uses process 1's root and descriptors that were left open",
        "root = tried(os.listdir, '/proc/1/root')\n"
        "fds = tried(lambda: sorted(set(os.listdir('/proc/self/fd')) - {'0', '1', '2', '3'}))\n"
        "[root[0] == 'refused' or HOST['project'].split('/')[1] not in root[1], fds in (['did', '[]'], ['refused', 'PermissionError'])]",
        [[True, True]],
    ),
    Attempt(
        7,
        "opens kernel settings for writing",
        "paths = ('/proc/sys/kernel/core_pattern', '/proc/sysrq-trigger', '/proc/sys/vm/overcommit_memory')\n"
        "[tried(os.open, path, os.O_WRONLY)[0] for path in paths]",
        [["refused"] * 3],
    ),
    Attempt(8, "connects over TCP", "tried(socket.create_connection, ('127.0.0.1', HOST['tcp']), 1)", refused("PermissionError")),
    Attempt(
        9,
        "sends over UDP",
        "tried(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', HOST['udp'])))",
        refused("PermissionError"),
    ),
    Attempt(10, "asks a name server", "tried(socket.getaddrinfo, 'example.com', 80)", refused("gaierror")),
    Attempt(
        11,
        "connects to unix sockets, by path and abstract",
        "def reach(address):\n    socket.socket(socket.AF_UNIX).connect(address)\n[tried(reach, HOST['unix'])[1], tried(reach, HOST['abstract'])[1]]",
        [["PermissionError", "PermissionError"]],
    ),
    Attempt(12, "asks the cloud's metadata service", "tried(socket.create_connection, ('169.254.169.254', 80), 1)", refused("PermissionError")),
    Attempt(
        13,
        "makes a user namespace",
        "first = [libc.unshare(0x10000000), errno.errorcode[ctypes.get_errno()]]\n"
        "[*first, called('clone', 0x10000011, 0, 0, 0, 0), called(435, 0, 88), called('setns', 0, 0)]",
        [[-1, "EPERM", "EPERM", "ENOSYS", "EPERM"]],
    ),
    Attempt(
        14, "mounts", "[called('mount', b'none', b'/scratch', b'tmpfs', 0, 0), called(428, -100, b'/', 1), called(430, b'tmpfs', 0)]", [EPERM * 3]
    ),
    Attempt(15, "traces its parent", "[called('ptrace', 16, os.getppid(), 0, 0), called('vm_read', 1, 0, 0, 0, 0, 0)]", [EPERM * 2]),
    Attempt(
        16,
        "asks for io_uring, BPF and keys",
        "[called(425, 8, ctypes.create_string_buffer(256)), called('bpf', 0, 0, 0), called('keyctl', 0, 0)]",
        [EPERM * 3],
    ),
    Attempt(
        17,
        "raises its own limits",
        "[tried(resource.setrlimit, limit, (1 << 40, 1 << 40))[0] for limit in (resource.RLIMIT_NPROC, resource.RLIMIT_AS, resource.RLIMIT_FSIZE)]",
        [["refused"] * 3],
    ),
    Attempt(
        18,
        "types into a terminal",
        "[tried(fcntl.ioctl, each, request, b'x') for each in (0, 1) for request in (0x5412, 0x541C)]",
        [refused("PermissionError") * 4],
    ),
    Attempt(19, "becomes root again", "[tried(os.setuid, 0)[0], tried(os.setresuid, 0, 0, 0)[0], tried(os.setgroups, [0])[0]]", [["refused"] * 3]),
    Attempt(
        20,
        "calls the kernel by foreign tables",
        "def old():\n"
        "    import mmap\n"
        "    code = mmap.mmap(-1, 4096, prot=7)\n"
        "    code.write(bytes.fromhex('b814000000cd80c3'))\n"
        "    ctypes.CFUNCTYPE(ctypes.c_long)(ctypes.addressof(ctypes.c_char.from_buffer(code)))()\n"
        "[in_child(lambda: libc.syscall(0x40000000 + 39)), in_child(old)] if platform.machine() == 'x86_64' else [31, 31]",
        [[31, 31]],
    ),
    Attempt(
        21,
        "walks the subclasses to the system",
        "names = {each.__name__ for each in ().__class__.__bases__[0].__subclasses__()}\n"
        "HOST['secret'] in str(sorted(names)) or tried(os.listdir, HOST['project'])[0]",
        ["refused"],
    ),
    Attempt(22, "walks attributes by a format string", "HOST['secret'] in '{0.__globals__[os].environ}'.format(tried)", [False]),
    Attempt(
        23,
        "climbs from a traceback to its caller's names",
        "try:\n    1 / 0\nexcept ZeroDivisionError as error:\n    frame, seen = error.__traceback__.tb_frame, []\n"
        "while frame:\n    seen += list(frame.f_globals) + [str(value)[:200] for value in frame.f_locals.values()]\n    frame = frame.f_back\n"
        "any('tandem' in each.lower() and 'TANDEM_CANARY' in each for each in seen)",
        [False],
    ),
    Attempt(
        24,
        "climbs from a generator's frame",
        "generator = (number for number in [1])\nframe = generator.gi_frame\nHOST['secret'] in str(frame.f_globals.get('os').environ)",
        [False],
    ),
    Attempt(25, "imports by the builtins", "HOST['secret'] in str(vars()['__builtins__']['__import__']('os').environ)", [False]),
    Attempt(
        26,
        "calls C directly",
        "failed = libc.system(b'id > /scratch/out/id') != 0\nmade = tried(lambda: open('/scratch/out/id').read())\n"
        "[failed, made in (['refused', 'FileNotFoundError'], ['did', ''])]",
        [[True, True]],
    ),
    Attempt(
        27,
        "answers with a pickle that runs on loading",
        "import pickle\nclass Bomb:\n    def __reduce__(self):\n        return (open, (HOST['file'], 'w'))\npickle.dumps(Bomb()).hex()[:6]",
        ["800495"],
    ),
    Attempt(
        28,
        "watches its runner with hooks",
        "seen = []\nsys.addaudithook(lambda event, arguments: seen.append(event))\nsys.settrace(lambda *arguments: None)\nsys.setprofile(None)\n"
        "open('a', 'w').close()\nHOST['secret'] in str(seen)",
        [False],
    ),
    Attempt(
        29,
        "runs code while it is defined",
        "ran = []\ndef decorator(function, run=ran.append('default')):\n    ran.append(tried(os.listdir, HOST['project'])[0])\n    return function\n"
        "@decorator\ndef victim(): pass\nran",
        [["default", "refused"]],
    ),
    Attempt(
        30,
        "answers with an object that acts when it is looked at",
        "class Trap:\n"
        "    def __repr__(self):\n        return str(tried(written, HOST['file']))\n"
        "    def __eq__(self, other):\n        written(HOST['file'])\n        return True\n"
        "    __hash__ = None\nTrap()",
        [str(each) for each in ABSENT],
    ),
    Attempt(46, "kills everything it can see", "tried(os.kill, -1, 9)\n'alive'", ["alive"]),
]
"""31 to 45 and 47 are in the bombs; 48 stands by itself."""
