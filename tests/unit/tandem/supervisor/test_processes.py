"""Which processes the settings ask for, and the environment they get."""

from pathlib import Path

from pydantic import SecretStr

from tandem.settings import ModelSettings, RedisSettings, Settings
from tandem.supervisor.processes import REPOSITORY, child_environment, process_table
from tandem.supervisor.valkey import Valkey, with_redis

HOME = Path("/somewhere/tandem")
VALKEY = Valkey(("/bin/valkey-server", "/x.conf"), 8702, "sesame")


def names(settings: Settings, valkey: Valkey | None, *, with_ui: bool = True) -> list[str]:
    return [spec.name for spec in process_table(settings, valkey, with_ui=with_ui)]


def test_without_any_url_everything_is_started() -> None:
    assert names(Settings(home=HOME), VALKEY) == ["valkey", "fast", "slow", "gateway", "dispatcher", "worker", "ui"]


def test_what_has_a_url_is_not_started() -> None:
    elsewhere = ModelSettings(url="http://gpu:8000/v1")
    settings = Settings(home=HOME, fast=elsewhere, slow=elsewhere, redis=RedisSettings(url=SecretStr("redis://r:6379/0")))
    assert names(settings, None) == ["gateway", "dispatcher", "worker", "ui"]


def test_only_the_lane_with_a_url_is_left_out() -> None:
    assert "slow" in names(Settings(home=HOME, fast=ModelSettings(url="http://gpu:8000/v1")), VALKEY)
    assert "fast" not in names(Settings(home=HOME, fast=ModelSettings(url="http://gpu:8000/v1")), VALKEY)


def test_the_pages_can_be_left_out() -> None:
    assert "ui" not in names(Settings(home=HOME), VALKEY, with_ui=False)


def test_commands_are_those_of_the_design() -> None:
    commands = {spec.name: spec.command for spec in process_table(Settings(home=HOME), VALKEY, python="PY")}
    assert commands == {
        "valkey": ("/bin/valkey-server", "/x.conf"),
        "fast": ("PY", "-P", "-m", "fast_model.server", "--role", "fast"),
        "slow": ("PY", "-P", "-m", "fast_model.server", "--role", "slow"),
        "gateway": ("PY", "-P", "-m", "gateway"),
        "dispatcher": ("PY", "-P", "-m", "gateway.dispatcher"),
        "worker": ("PY", "-P", "-m", "slow_worker"),
        "ui": ("PY", "-P", "-m", "ui"),
    }


def test_processes_that_use_redis_wait_for_the_embedded_one() -> None:
    needs = {spec.name: spec.needs for spec in process_table(Settings(home=HOME), VALKEY)}
    assert {name for name, need in needs.items() if need == ("valkey",)} == {"gateway", "dispatcher", "worker"}


def test_the_front_is_stopped_first_and_the_models_last() -> None:
    stages = {spec.name: spec.stage for spec in process_table(Settings(home=HOME), VALKEY)}
    assert stages["ui"] > stages["gateway"] > stages["worker"] == stages["dispatcher"] > stages["fast"] == stages["valkey"]


def test_every_port_names_the_variable_that_changes_it() -> None:
    variables = {spec.name: spec.listen.variable for spec in process_table(Settings(home=HOME), VALKEY) if spec.listen}
    assert variables == {
        "valkey": "TANDEM_REDIS_PORT",
        "fast": "TANDEM_FAST_PORT",
        "slow": "TANDEM_SLOW_PORT",
        "gateway": "TANDEM_GATEWAY_PORT",
        "ui": "TANDEM_UI_PORT",
    }


def test_children_find_our_packages_first() -> None:
    environ = {"PYTHONPATH": f"/theirs:{REPOSITORY}", "LANG": "C"}
    child = child_environment(environ, Settings(home=HOME))
    assert child["PYTHONPATH"] == f"{REPOSITORY}:/theirs"
    assert child["LANG"] == "C"


def test_children_may_write_bytecode() -> None:
    assert "PYTHONDONTWRITEBYTECODE" not in child_environment({"PYTHONDONTWRITEBYTECODE": "1"}, Settings(home=HOME))


def test_children_are_told_the_home_and_the_embedded_redis_with_its_password() -> None:
    child = child_environment({"TANDEM_WORKER_CONCURRENCY": "2"}, with_redis(Settings(home=Path("relative")), VALKEY))
    assert child["TANDEM_HOME"] == str(Path("relative").absolute())
    assert child["TANDEM_REDIS_URL"] == "redis://:sesame@127.0.0.1:8702/0"
    assert child["TANDEM_WORKER_CONCURRENCY"] == "2"


def test_a_configured_redis_is_passed_on_unchanged() -> None:
    settings = Settings(home=HOME, redis=RedisSettings(url=SecretStr("redis://r:6379/3")))
    assert child_environment({}, with_redis(settings, None))["TANDEM_REDIS_URL"] == "redis://r:6379/3"
