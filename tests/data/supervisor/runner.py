"""``tandem up`` in small: the supervisor's parts over a table of stand-ins.

Arguments: ``HOME TABLE``, where TABLE is ``[[name, port, kind, stage, needs], …]`` as JSON.
"""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

from tandem.errors import TandemError
from tandem.supervisor import Change, GuardianLink, HomeLock, ProcessSpec, RestartPolicy, Supervisor, check_ports
from tandem.supervisor.keeper import Patience
from tandem.supervisor.listening import Listen
from tandem.supervisor.probes import HttpProbe
from tandem.telemetry.clock import SystemClock

STAND_IN = Path(__file__).with_name("stand_in.py")


def spec(home: Path, name: str, port: int, kind: str, stage: int, needs: list[str]) -> ProcessSpec:
    command = (sys.executable, str(STAND_IN), name, str(port), str(home), kind)
    listen = Listen("127.0.0.1", port, f"TANDEM_{name.upper()}_PORT")
    return ProcessSpec(name, "a stand-in", command, HttpProbe(f"http://127.0.0.1:{port}/"), stage, tuple(needs), listen, Patience(15.0, 1.0))


def tell(*words: str) -> None:
    sys.stdout.write(json.dumps(words) + "\n")
    sys.stdout.flush()


def report(change: Change) -> None:
    tell(change.name, change.state.value, change.detail)


async def main(home: Path, specs: list[ProcessSpec]) -> None:
    lock = HomeLock.acquire(home, "http://here")
    check_ports([(one.name, one.listen) for one in specs if one.listen])
    guardian = GuardianLink(home / "guardian.log", inherit=(lock.descriptor,), grace_s=1.0)
    policy = RestartPolicy(first_delay_s=0.1, rapid_deaths=4)
    supervisor = Supervisor(specs, environment=os.environ, home=home, guard=guardian, clock=SystemClock(), report=report, policy=policy)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await guardian.start()
    try:
        await supervisor.start()
        tell("whole", supervisor.state, str(guardian.pid))
        await stop.wait()
        tell("whole", f"{supervisor.state} at the end", str(guardian.pid))
    finally:
        await supervisor.stop()
        await guardian.close()


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    try:
        asyncio.run(main(folder, [spec(folder, *row) for row in json.loads(sys.argv[2])]))
    except TandemError as error:
        sys.exit(error.message)
