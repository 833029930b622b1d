"""The ports with small suites: clocks, classifiers, tools."""

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Final

import pytest
from pydantic import JsonValue

from router.artifacts import load_classifier
from tandem.egress import GuardedClient
from tandem.ids import IdFactory
from tandem.ports import Classifier, Clock, Tool
from tandem.settings import Settings, ToolSettings
from tandem.telemetry import SystemClock
from tandem.testing.clock import FakeClock
from tandem.testing.suites.classifier import ClassifierConformance
from tandem.testing.suites.clock import ClockConformance
from tandem.testing.suites.tool import ToolConformance
from tools.offers import Supplies
from tools.registry import offered_tools


class TestClocks(ClockConformance):
    @pytest.fixture(params=[SystemClock, FakeClock])
    def clock(self, request: pytest.FixtureRequest) -> Clock:
        clock: Clock = request.param()
        return clock


class TestLinearClassifier(ClassifierConformance):
    @pytest.fixture
    def classifier(self) -> Classifier:
        return load_classifier()


ARGUMENTS: Final[dict[str, dict[str, JsonValue]]] = {
    "python": {"code": "6 * 7"},
    "python_full": {"code": "6 * 7"},
    "calculator": {"expression": "6 * 7"},
    "datetime": {"action": "now", "zone": "Asia/Shanghai"},
}
"""Of the tools that need nothing but themselves; the others' suites stand beside their tests."""


class TestTools(ToolConformance):
    @pytest.fixture(params=sorted(ARGUMENTS))
    async def tool(self, request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[Tool]:
        settings = Settings(home=tmp_path, tools=ToolSettings(offer=[request.param]))
        toolbox = await offered_tools(Supplies(settings, GuardedClient(settings.egress), IdFactory(now_ms=lambda: 0)))
        try:
            yield toolbox[request.param]
        finally:
            await toolbox.close()

    @pytest.fixture
    def good_arguments(self, tool: Tool) -> dict[str, JsonValue]:
        return ARGUMENTS[tool.spec.name]
