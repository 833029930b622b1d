"""48 attempts to escape, as root and as an ordinary user: each is refused, and the machine is as it was. 31 to 45 and 47 are in test_bombs.py."""

import json
import os
import socket
import subprocess

import pytest

from tests.sandbox.attempts import ATTEMPTS, Attempt
from tests.sandbox.conftest import REPOSITORY, SECRET, Canaries, Driver

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("attempt", ATTEMPTS, ids=lambda attempt: f"{attempt.number} {attempt.title}")
def test_the_program(driver: Driver, canaries: Canaries, attempt: Attempt) -> None:
    host = {"project": str(REPOSITORY), "file": str(canaries.file), "secret": SECRET, **canaries.addresses}

    answer = driver.run(attempt.program(host))

    assert answer["value"] in attempt.expected, answer
    assert SECRET not in json.dumps(answer).replace(repr(host), "")


def test_the_canaries_notice_who_reaches_them(canaries: Canaries) -> None:
    before = canaries.hits

    for kind, family, style in (("tcp", socket.AF_INET, socket.SOCK_STREAM), ("unix", socket.AF_UNIX, socket.SOCK_STREAM)):
        address = canaries.addresses[kind]
        with socket.socket(family, style) as caller:
            caller.connect(("127.0.0.1", address) if family == socket.AF_INET else address)
            assert caller.recv(1) == b""

    assert canaries.hits == before + 2


def test_what_is_left_behind_is_noticed(driver: Driver) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can start a process in another's name")
    with subprocess.Popen(["sleep", "60"], user=min(driver.uids)) as stray:
        assert driver.left_behind()
        stray.kill()


@pytest.mark.usefixtures("untouched")
def test_links_and_hidden_files_do_not_come_out_as_files_of_the_job(driver: Driver, canaries: Canaries) -> None:
    answer = driver.run(
        f"import os\nos.symlink({str(canaries.file)!r}, 'out/link')\nos.symlink('/proc/self/status', 'out/status')\nopen('out/.hidden', 'w')\n"
    )

    assert (answer["has_replied"], answer["files"]) == (True, {})


@pytest.mark.usefixtures("untouched")
def test_48_a_hundred_programs_at_once_see_nothing_of_each_other(driver: Driver) -> None:
    program = (
        "import glob, os\n"
        "seen = [sorted(os.listdir('.')), os.listdir('/dev/shm'), len([pid for pid in os.listdir('/proc') if pid.isdigit()]), 'mine' in globals()]\n"
        "mine = {number}\nopen('mine', 'w').write('{number}')\nopen('/dev/shm/mine', 'w').write('x')\n[seen, mine]"
    )

    answers = driver.run_all([program.format(number=number) for number in range(100)], [{"seconds": 60.0}] * 100)

    assert [answer["value"] for answer in answers] == [[[["out"], [], 2, False], number] for number in range(100)]
