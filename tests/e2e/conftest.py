"""The platform on a real, tiny model."""

from collections.abc import Generator
from pathlib import Path

import pytest

from tandem.testing.platform import Platform, running_platform

TINY_MODEL = "smollm2-135m-instruct"
MODEL_CACHE = Path(__file__).resolve().parents[2] / ".venv" / "cache" / "tandem-models"


@pytest.fixture(scope="session")
def tiny_platform(tmp_path_factory: pytest.TempPathFactory) -> Generator[Platform]:
    """What ``make run`` starts, proof and pages included, with SmolLM2-135M in both lanes."""
    environ = {
        "TANDEM_FAST_MODEL": TINY_MODEL,
        "TANDEM_SLOW_MODEL": TINY_MODEL,
        # One thread each: on a busy machine two that wait for each other at every layer are many times slower.
        "TANDEM_FAST_THREADS": "1",
        "TANDEM_SLOW_THREADS": "1",
        "TANDEM_MODELS_DIR": str(MODEL_CACHE),
        "TANDEM_EGRESS_ALLOW": "127.0.0.1",
    }
    with running_platform(tmp_path_factory.mktemp("tiny") / "home", environ=environ) as platform:
        yield platform
