"""Fixtures for the tests that need a whole platform."""

from collections.abc import Generator

import pytest

from tandem.testing.platform import Platform, platform_on_script


@pytest.fixture(scope="session")
def scripted_platform(tmp_path_factory: pytest.TempPathFactory) -> Generator[Platform]:
    """One platform on scripted models, shared by the tests that do no harm to it."""
    with platform_on_script(tmp_path_factory.mktemp("scripted"), "--no-ui") as platform:
        yield platform
