"""Fixtures for the tests that need a whole platform."""

from collections.abc import Generator

import pytest
import structlog

from tandem.testing.platform import Platform, platform_on_script


def pytest_configure() -> None:
    """Plain tracebacks in what tests log: one with every local value in a box takes seconds to draw."""
    *others, _ = structlog.get_config()["processors"]
    structlog.configure(processors=[*others, structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)])


@pytest.fixture(scope="session")
def scripted_platform(tmp_path_factory: pytest.TempPathFactory) -> Generator[Platform]:
    """One platform on scripted models, shared by the tests that do no harm to it."""
    with platform_on_script(tmp_path_factory.mktemp("scripted"), "--no-ui") as platform:
        yield platform
