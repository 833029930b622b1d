"""Programs on a code execution server with Piston's protocol (``POST {url}/api/v2/execute``), for machines where no sandbox of our own works.

Covered: the request goes the guarded way out; the answer is bounded and believed no more than a local one. Not covered: how well that server
confines what it runs, and whether it has the packages; both are its operator's. Piston itself cuts output at 1024 characters unless its
``output_max_size`` is raised, and then even a short answer with a file does not fit.
"""

import base64
import binascii
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

from tandem.egress import FetchLimits, GuardedClient, operated
from tandem.errors import EgressDenied, SandboxUnavailable
from tools.sandbox.answer import Answer, Head, Made
from tools.sandbox.limits import MEBIBYTE, Limits

_LANGUAGE: Final = "python"
_ANY_VERSION: Final = "*"
_ANSWER_BYTES: Final = 8 * MEBIBYTE
_SIGKILL: Final = 137
_ROUND_TRIP_S: Final = 5.0
"""Beside what the program may take; ``TANDEM_EGRESS_TIMEOUT_S`` bounds both together."""
BOOTSTRAP: Final = Path(__file__).with_name("bootstrap.py")


@dataclass(frozen=True, slots=True)
class PistonSandbox:
    """A ``ProgramRunner`` somewhere else."""

    url: str
    egress: GuardedClient
    limits: Limits
    key: str | None = field(default=None, repr=False)

    async def run(self, code: str, files: Mapping[str, bytes]) -> Answer:
        """Run a program there. Raises as ``ProgramRunner.run``."""
        marker = f"tandem-{secrets.token_hex(16)}:"
        headers = {"content-type": "application/json"} | ({"authorization": self.key} if self.key else {})
        try:
            response = await self.egress.fetch(
                f"{self.url.rstrip('/')}/api/v2/execute",
                method="POST",
                headers=headers,
                body=json.dumps(self._request(code, files, marker)).encode(),
                rules=operated(self.url, "TANDEM_TOOLS_SANDBOX_URL"),
                limits=FetchLimits(timeout_s=self.limits.seconds + _ROUND_TRIP_S, max_bytes=_ANSWER_BYTES, max_redirects=0),
            )
        except (EgressDenied, ConnectionError, TimeoutError) as error:
            raise SandboxUnavailable("the remote sandbox does not answer; try later, or do without running programs") from error
        if response.status != 200:
            raise SandboxUnavailable(
                f"the remote sandbox answered with the status {response.status}; do without running programs until it is repaired"
            )
        return self._answer(response.body, marker)

    def _request(self, code: str, files: Mapping[str, bytes], marker: str) -> dict[str, Any]:
        sent = [{"name": "main.py", "content": BOOTSTRAP.read_text(encoding="utf-8")}, {"name": "program.py", "content": code}]
        sent += [{"name": name, "content": base64.b64encode(content).decode(), "encoding": "base64"} for name, content in files.items()]
        settings = {"marker": marker, "max_files": self.limits.files, "max_file_bytes": _ANSWER_BYTES // 4}
        return {
            "language": _LANGUAGE,
            "version": _ANY_VERSION,
            "files": sent,
            "stdin": json.dumps(settings) + "\n",
            "run_timeout": int(self.limits.seconds * 1_000),
            "run_memory_limit": self.limits.memory_bytes,
        }

    def _answer(self, body: bytes, marker: str) -> Answer:
        try:
            ran = cast("dict[str, Any]", json.loads(body))["run"]
            stdout, stderr, code, signal = str(ran["stdout"]), str(ran.get("stderr") or ""), ran.get("code"), ran.get("signal")
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise SandboxUnavailable("the remote sandbox answered with something that is not Piston's protocol") from error
        printed, found, reply = stdout.rpartition(marker)
        printed = (printed.removesuffix("\n") if found else stdout) + stderr
        kept = printed[: self.limits.printed_bytes]
        status = code if isinstance(code, int) else _SIGKILL
        plain = Answer("time" if signal == "SIGKILL" else "ended", status, printed=kept, is_cut=len(kept) < len(printed))
        if not found:
            return plain
        try:
            head = Head.read(reply)
            files = [Made(name, base64.b64decode(str(content), validate=True)) for name, content in head.files]
        except (ValueError, binascii.Error):
            return plain
        is_cut = plain.is_cut or head.is_cut
        return Answer("ended", status, head.value, head.fault, kept, is_cut, files, head.left_out, has_replied=True)
