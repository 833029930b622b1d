"""Every snippet of the documentation runs, against a real platform whose models are scripted.

A fence that cannot run here is marked ``<!-- not run: reason -->`` on the line above it; an indented fence (an alternative in a tab) shows
configuration.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tandem.testing.platform import Platform

ROOT = Path(__file__).resolve().parents[2]
FENCE = re.compile(r"^(?P<mark><!-- not run: [^\n]+ -->\n)?```(?P<language>python|bash)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)


def snippets() -> list[tuple[str, str, str]]:
    found: list[tuple[str, str, str]] = []
    for page in sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]):
        text = page.read_text(encoding="utf-8")
        for fence in FENCE.finditer(text):
            if fence["mark"] is None:
                line = text.count("\n", 0, fence.start("code")) + 1
                found.append((f"{page.name}:{line}", fence["language"], fence["code"]))
    return found


@pytest.mark.e2e
@pytest.mark.timeout(180)
@pytest.mark.parametrize(("place", "language", "code"), snippets(), ids=[place for place, _, _ in snippets()])
def test_a_snippet_runs(place: str, language: str, code: str, scripted_platform: Platform, tmp_path: Path) -> None:
    here = code.replace("http://127.0.0.1:8700", scripted_platform.gateway)
    environ = os.environ | scripted_platform.environ | {"TANDEM_API_KEY": scripted_platform.key}
    environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environ['PATH']}"
    command = [sys.executable, "-c", here] if language == "python" else ["bash", "-euo", "pipefail", "-c", here]
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=150, check=False)
    assert done.returncode == 0, f"{place}\n{done.stdout}\n{done.stderr}"
    assert done.stdout.strip(), f"{place} printed nothing"
    assert '"error"' not in done.stdout or '"error":null' in done.stdout.replace(" ", ""), done.stdout
