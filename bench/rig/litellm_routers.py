"""``python -m bench.rig.litellm_routers FILE... --out scores.jsonl``: LiteLLM's two local auto-routers on the prompts of JSON-lines files.

They run in an environment of their own, installed on demand; ``tandem router eval --peers scores.jsonl`` compares. Prompts are named by SHA-256, so
the result holds no data.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from bench.rig import litellm_peer
from bench.rig.installed import ROOT, PeerMissing, install, outside_environment
from router.training.predictions import prompt_key

SCRIPT = Path(__file__).with_name("litellm_scoring.py")
PYTHON = litellm_peer.EXECUTABLE.with_name("python")


def score(prompts: Iterable[str], python: Path | None = None) -> list[dict[str, Any]]:
    """One row per prompt, in order. ``python``: an interpreter that has LiteLLM already. Raises ``PeerMissing``."""
    if python is None:
        install(litellm_peer.EXECUTABLE, litellm_peer.PACKAGES)
        python = PYTHON
    asked = "".join(json.dumps({"key": prompt_key(prompt), "prompt": prompt}) + "\n" for prompt in prompts)
    environment = outside_environment() | {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"}
    done = subprocess.run([str(python), str(SCRIPT)], input=asked, capture_output=True, text=True, check=False, env=environment, cwd=ROOT.parent)
    if done.returncode:
        raise PeerMissing(f"LiteLLM's routers cannot be run: {done.stderr.strip().splitlines()[-1:]}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.rig.litellm_routers", description=__doc__)
    parser.add_argument("files", nargs="+", type=Path, help="JSON lines with `prompt`, `question` or `text`")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--python", type=Path, help="an interpreter that has LiteLLM already")
    options = parser.parse_args(arguments)
    rows = score(dict.fromkeys(_prompts(options.files)), options.python)
    options.out.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    print(f"{len(rows)} prompts scored by LiteLLM {litellm_peer.VERSION if options.python is None else options.python}")
    return 0


def _prompts(files: Iterable[Path]) -> Iterator[str]:
    for file in files:
        for line in file.read_text(encoding="utf-8").splitlines():
            record = json.loads(line)
            yield next(str(record[field]) for field in ("prompt", "question", "text") if field in record)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
