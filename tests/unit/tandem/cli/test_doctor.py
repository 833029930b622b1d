"""What `tandem doctor` finds and how it says it."""

import socket
from pathlib import Path

import pytest
from pydantic import SecretStr

from tandem.cli.checks import (
    Finding,
    check_database,
    check_disk,
    check_free_ports,
    check_gateway,
    check_home,
    check_model,
    check_python,
    check_redis,
    check_tools,
    check_valkey,
    needed_extras,
)
from tandem.cli.doctor import render
from tandem.settings import DatabaseSettings, GatewaySettings, ModelSettings, RedisSettings, Settings

ELSEWHERE = ModelSettings(url="http://127.0.0.1:1/v1", connect_timeout_s=1.0)


def test_an_old_python_fails_with_a_remedy() -> None:
    assert check_python((3, 10)).state == "fail"
    assert check_python((3, 13)).state == "ok"


def test_only_what_the_settings_use_must_be_installed(tmp_path: Path) -> None:
    assert needed_extras(Settings(home=tmp_path)) == ("gateway", "worker", "model-cpu", "ui")
    remote = Settings(home=tmp_path, fast=ELSEWHERE, slow=ELSEWHERE, database=DatabaseSettings(url=SecretStr("postgresql://h/d")))
    assert needed_extras(remote) == ("gateway", "worker", "ui", "postgres")


def test_a_home_that_can_be_made_is_fine_and_one_that_cannot_names_the_setting(tmp_path: Path) -> None:
    assert check_home(Settings(home=tmp_path / "new" / "home")).state == "ok"
    finding = check_home(Settings(home=Path("/proc/tandem")))
    assert finding.state == "fail"
    assert "TANDEM_HOME" in finding.remedy


@pytest.mark.parametrize(("free_gb", "state"), [(0.5, "fail"), (2.0, "warn"), (10.0, "ok")])
def test_the_disk_must_hold_the_missing_models(free_gb: float, state: str, tmp_path: Path) -> None:
    assert check_disk(Settings(home=tmp_path), int(free_gb * 1e9)).state == state


async def test_a_missing_model_is_a_warning_and_a_false_one_a_failure(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    assert (await check_model(settings, "fast")).state == "warn"
    settings.models_path.mkdir()
    (settings.models_path / "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf").write_bytes(b"not it")
    assert (await check_model(settings, "fast")).state == "fail"


async def test_a_model_server_that_does_not_answer_is_a_failure(tmp_path: Path) -> None:
    finding = await check_model(Settings(home=tmp_path, slow=ELSEWHERE), "slow")
    assert finding.state == "fail"
    assert "TANDEM_SLOW_URL" in finding.remedy


def test_a_configured_redis_needs_no_embedded_one(tmp_path: Path) -> None:
    assert check_valkey(Settings(home=tmp_path, redis=RedisSettings(url=SecretStr("redis://r/0")))).state == "ok"


def test_a_taken_port_names_its_setting(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        settings = Settings(home=tmp_path, gateway=GatewaySettings(port=server.getsockname()[1]))
        found = {finding.what: finding for finding in check_free_ports(settings)}
    assert found["port gateway"].state == "fail"
    assert "TANDEM_GATEWAY_PORT" in found["port gateway"].remedy


async def test_a_database_that_is_not_there_yet_is_fine_and_an_absent_server_is_not(tmp_path: Path) -> None:
    assert (await check_database(Settings(home=tmp_path))).state == "ok"
    away = Settings(home=tmp_path, database=DatabaseSettings(url=SecretStr("postgresql://u:hidden@127.0.0.1:1/d")))
    finding = await check_database(away)
    assert finding.state == "fail"
    assert "hidden" not in "".join(render(finding))


async def test_an_absent_redis_is_a_warning_since_nothing_is_lost(tmp_path: Path) -> None:
    finding = await check_redis(Settings(home=tmp_path, redis=RedisSettings(url=SecretStr("redis://:hidden@127.0.0.1:1/0"))))
    assert finding.state == "warn"
    assert "hidden" not in "".join(render(finding))


async def test_an_absent_gateway_is_a_warning_before_the_start_and_a_failure_after(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, gateway=GatewaySettings(port=1))
    assert [finding.state for finding in await check_gateway(settings, is_up=False)] == ["warn"]
    assert [finding.state for finding in await check_gateway(settings, is_up=True)] == ["fail"]


async def test_the_tools_are_one_line_that_is_as_bad_as_the_worst_of_them(tmp_path: Path) -> None:
    well = await check_tools(Settings.model_validate({"home": tmp_path, "tools": {"offer": ["ask_user", "sql"]}}))
    ill = await check_tools(Settings.model_validate({"home": tmp_path, "tools": {"offer": ["ask_user", "web_search"], "search": ["brave"]}}))
    assert (well.state, well.what) == ("ok", "tools")
    assert (ill.state, "fail: web_search" in ill.detail, "tandem tools doctor" in ill.remedy) == ("fail", True, True)


def test_a_remedy_is_shown_below_what_is_wrong_only() -> None:
    assert len(render(Finding("ok", "disk", "10 GB"))) == 1
    assert render(Finding("fail", "disk", "0 GB", "free some space"))[1].endswith("-> free some space")
