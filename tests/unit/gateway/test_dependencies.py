"""The services' end: whatever breaks on the way, no port stays open."""

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from gateway.app import create_app
from gateway.dependencies import Dependencies, Services, open_dependencies
from tandem.errors import StorageUnavailable
from tandem.settings import Settings

PORTS = ("queue", "notifier", "fast", "slow", "storage")


class Noting:
    """A port that notes its end, and may break at it or at a migration."""

    def __init__(self, name: str, inner: Any, closed: list[str], *, breaks: frozenset[str]) -> None:
        self._name = name
        self._inner = inner
        self._closed = closed
        self._breaks = breaks

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def migrate(self) -> None:
        if "migrate" in self._breaks:
            raise StorageUnavailable("away")
        await self._inner.migrate()

    async def close(self) -> None:
        self._closed.append(self._name)
        await self._inner.close()
        if self._name in self._breaks:
            raise RuntimeError(f"{self._name} does not close")


def noting(settings: Settings, closed: list[str], *breaks: str) -> Dependencies:
    real = open_dependencies(settings)
    watched = {name: Noting(name, getattr(real, name), closed, breaks=frozenset(breaks)) for name in PORTS}
    return replace(real, **cast("dict[str, Any]", watched))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.model_validate({
        "home": tmp_path,
        "fast": {"url": "http://127.0.0.1:9/v1", "model": "m"},
        "slow": {"url": "http://127.0.0.1:9/v1", "model": "m"},
    })


async def test_a_port_that_does_not_close_leaves_no_other_open(settings: Settings) -> None:
    closed: list[str] = []
    services = Services(settings, noting(settings, closed, "queue", "fast"))
    await services.start()
    with pytest.raises(RuntimeError, match="does not close"):
        await services.close()
    assert closed == list(PORTS)


async def test_a_gateway_that_cannot_start_closes_what_it_has_opened(settings: Settings) -> None:
    closed: list[str] = []
    gateway = create_app(settings, noting(settings, closed, "migrate"))
    told: list[str] = []

    async def receive() -> dict[str, Any]:
        return {"type": "lifespan.startup"}

    async def send(message: Any) -> None:
        told.append(message["type"])

    with pytest.raises(StorageUnavailable):
        await gateway({"type": "lifespan"}, receive, send)
    assert (told, closed) == (["lifespan.startup.failed"], list(PORTS))
