"""The ports with small suites: clocks, classifiers, tools."""

from collections.abc import AsyncGenerator

import pytest
from pydantic import JsonValue

from router.artifacts import load_classifier
from tandem.ports import Classifier, Clock, Tool
from tandem.telemetry import SystemClock
from tandem.testing.clock import FakeClock
from tandem.testing.suites.classifier import ClassifierConformance
from tandem.testing.suites.clock import ClockConformance
from tandem.testing.suites.tool import ToolConformance
from tools.registry import offered_tools, tool_names


class TestClocks(ClockConformance):
    @pytest.fixture(params=[SystemClock, FakeClock])
    def clock(self, request: pytest.FixtureRequest) -> Clock:
        clock: Clock = request.param()
        return clock


class TestLinearClassifier(ClassifierConformance):
    @pytest.fixture
    def classifier(self) -> Classifier:
        return load_classifier()


class TestTools(ToolConformance):
    @pytest.fixture(params=sorted(tool_names()))
    async def tool(self, request: pytest.FixtureRequest) -> AsyncGenerator[Tool]:
        toolbox = offered_tools()
        try:
            yield toolbox[request.param]
        finally:
            await toolbox.close()

    @pytest.fixture
    def good_arguments(self, tool: Tool) -> dict[str, JsonValue]:
        arguments: dict[str, dict[str, JsonValue]] = {"python": {"code": "6 * 7"}}
        return arguments[tool.spec.name]
