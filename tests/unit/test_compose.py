"""docker-compose.yml, Dockerfile and the generated secrets, as far as they can be judged without a container engine."""

import importlib.util
import json
import re
import shutil
import stat
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import jsonschema
import pytest
import yaml

from gateway.dispatcher import main as dispatcher_main
from gateway.setup import main as setup_main
from tandem.models import CATALOGUE, DEFAULT_MODELS
from tandem.secrets import load_pepper, load_webhook_secret
from tandem.settings import ENV_PREFIX, Section, Settings
from tandem.webhooks import parse_secret

ROOT = Path(__file__).parents[2]
SOURCE = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(SOURCE)["services"]
OURS = ["setup", "gateway", "worker", "dispatcher", "ui", "models"]
ONE_SHOT = {"setup", "models"}
SECRETS = {"POSTGRES_PASSWORD", "REDIS_PASSWORD", "TANDEM_PEPPER", "TANDEM_WEBHOOK_SECRET", "TANDEM_FAST_API_KEY", "TANDEM_SLOW_API_KEY"}
_VARIABLE = re.compile(r"\$\$|\$\{(?P<name>[A-Z_]+)(?::(?P<kind>[-?])(?P<rest>[^}]*))?\}")


def interpolate(text: str, environment: Mapping[str, str]) -> str:
    """Compose's ``${NAME}``, ``${NAME:-default}``, ``${NAME:?message}`` and ``$$``; raises ``LookupError`` as Compose stops."""

    def value(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        found = environment.get(match["name"], "")
        if not found and match["kind"] == "?":
            raise LookupError(f"required variable {match['name']} {match['rest']}")
        return found or (match["rest"] or "" if match["kind"] == "-" else "")

    return _VARIABLE.sub(value, text)


def read_env(path: Path) -> dict[str, str]:
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def generate(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the script as in a clone of its own."""
    (folder / "scripts").mkdir(exist_ok=True)
    shutil.copy(ROOT / "scripts" / "generate-secrets.sh", folder / "scripts")
    shutil.copy(ROOT / ".env.example", folder)
    command = ["bash", str(folder / "scripts" / "generate-secrets.sh")]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("clone")
    assert generate(folder).returncode == 0
    return read_env(folder / ".env")


@pytest.fixture(scope="module")
def services(generated: dict[str, str]) -> dict[str, dict[str, Any]]:
    return yaml.safe_load(interpolate(SOURCE, generated))["services"]


def known_variables() -> set[str]:
    names: set[str] = set()
    for name, field in Settings.model_fields.items():
        section = field.annotation
        keys = section.model_fields if isinstance(section, type) and issubclass(section, Section) else None
        names |= {f"{ENV_PREFIX}{name}_{key}".upper() for key in keys} if keys else {f"{ENV_PREFIX}{name}".upper()}
    return names


def test_the_file_satisfies_the_schema_of_the_compose_specification(generated: dict[str, str]) -> None:
    schema = json.loads((ROOT / "tests" / "data" / "compose-spec" / "compose-spec.json").read_text(encoding="utf-8"))
    for text in (SOURCE, interpolate(SOURCE, generated)):
        document = yaml.safe_load(text)
        jsonschema.validate({key: part for key, part in document.items() if not key.startswith("x-")}, schema)


@pytest.mark.parametrize("name", sorted(SECRETS))
def test_a_missing_secret_stops_compose_and_names_the_script(name: str, generated: dict[str, str]) -> None:
    with pytest.raises(LookupError, match=rf"{name} is missing, run scripts/generate-secrets\.sh"):
        interpolate(SOURCE, generated | {name: ""})


def test_no_secret_has_a_default() -> None:
    for match in _VARIABLE.finditer(SOURCE):
        if match["name"] and re.search(r"PASSWORD|SECRET|PEPPER|API_KEY", match["name"]):
            assert match["kind"] == "?", match[0]


def test_no_password_is_written_out() -> None:
    environments = [cast("dict[str, str]", service.get("environment", {})) for service in SERVICES.values()]
    written = {key: value for each in environments for key, value in each.items() if re.search(r"PASSWORD|SECRET|PEPPER|KEY|AUTH", key)}
    assert written
    assert all(value.startswith("${") for value in written.values())


@pytest.mark.parametrize("name", sorted(set(SERVICES) - ONE_SHOT))
def test_every_lasting_service_has_a_health_check_and_restarts(name: str) -> None:
    service = SERVICES[name]
    assert service["healthcheck"]["test"]
    assert service["restart"] == "unless-stopped"


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_ports_are_published_on_loopback_only(name: str) -> None:
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name].get("ports", []))
    assert "network_mode" not in SERVICES[name]


@pytest.mark.parametrize("name", OURS)
def test_our_containers_are_confined(name: str) -> None:
    service = SERVICES[name]
    assert (service["read_only"], service["cap_drop"], service["security_opt"]) == (True, ["ALL"], ["no-new-privileges:true"])


@pytest.mark.parametrize("name", OURS)
def test_every_variable_of_our_services_is_a_setting_and_loads(name: str, services: dict[str, dict[str, Any]]) -> None:
    environment = {key: str(value) for key, value in services[name]["environment"].items()}
    assert {key for key in environment if key.startswith(ENV_PREFIX)} <= known_variables()
    assert str(Settings.load(environment).home) == "/var/lib/tandem"


def test_the_example_names_every_variable_and_nothing_else() -> None:
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    documented = set(re.findall(r"^#?([A-Z][A-Z_]+)=", example, re.MULTILINE))
    used = {match["name"] for match in _VARIABLE.finditer(SOURCE) if match["name"]}
    assert documented == used
    assert {name for name in documented if name.startswith(ENV_PREFIX)} - {"TANDEM_IMAGE"} <= known_variables()


def test_the_examples_defaults_are_those_of_the_file() -> None:
    example = dict(re.findall(r"^#([A-Z][A-Z_]+)=(.+)$", (ROOT / ".env.example").read_text(encoding="utf-8"), re.MULTILINE))
    defaults = {match["name"]: match["rest"] for match in _VARIABLE.finditer(SOURCE) if match["kind"] == "-" and match["rest"]}
    own = {"TANDEM_FAST_URL", "TANDEM_SLOW_URL", "TANDEM_FAST_MODEL", "TANDEM_SLOW_MODEL"}
    assert {name: value for name, value in example.items() if name not in own} == {name: value for name, value in defaults.items() if name not in own}


@pytest.mark.parametrize("name", OURS)
def test_the_command_of_our_services_is_a_module_of_ours(name: str) -> None:
    python, flag, module, *_ = SERVICES[name]["command"]
    assert (python, flag) == ("python", "-m")
    spec = importlib.util.find_spec(module)
    if spec is not None and spec.submodule_search_locations is not None:
        spec = importlib.util.find_spec(f"{module}.__main__")
    assert spec is not None
    assert spec.origin is not None
    assert Path(spec.origin).is_relative_to(ROOT)


@pytest.mark.parametrize("main", [dispatcher_main, setup_main])
def test_a_command_explains_itself(main: Callable[[list[str]], int], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["--help"])
    assert left.value.code == 0
    assert "usage: python -m gateway." in capsys.readouterr().out


def test_the_cpu_profile_serves_the_pinned_files_that_were_fetched() -> None:
    for lane, service in (("fast", "llama-fast"), ("slow", "llama-slow")):
        environment = cast("dict[str, str]", SERVICES[service]["environment"])
        assert environment["LLAMA_ARG_MODEL"] == f"/models/{CATALOGUE[DEFAULT_MODELS[lane]].file_name}"
        assert "models:/models:ro" in SERVICES[service]["volumes"]
    assert not [key for key in SERVICES["models"]["environment"] if key.endswith("_URL")]


def test_the_ui_gets_no_secret() -> None:
    assert not [key for key in SERVICES["ui"]["environment"] if re.search(r"PASSWORD|SECRET|PEPPER|KEY|DATABASE|REDIS", key)]
    assert SERVICES["ui"]["volumes"] == ["state:/var/lib/tandem:ro"]


def test_the_database_and_redis_are_on_the_closed_network_only() -> None:
    assert yaml.safe_load(SOURCE)["networks"]["back"] == {"internal": True}
    assert [SERVICES[name]["networks"] for name in ("redis", "postgres")] == [["back"], ["back"]]


def test_the_generated_secrets_are_usable_and_private(tmp_path: Path) -> None:
    assert generate(tmp_path).returncode == 0
    path = tmp_path / ".env"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    values = read_env(path)
    assert set(values) == SECRETS
    assert len(set(values.values())) == len(SECRETS)
    assert all(re.fullmatch(r"[0-9a-f]{64}", value) for name, value in values.items() if name != "TANDEM_WEBHOOK_SECRET")
    settings = Settings.load({name: value for name, value in values.items() if name.startswith(ENV_PREFIX)} | {"TANDEM_HOME": str(tmp_path)})
    assert len(parse_secret(load_webhook_secret(settings))) == 32
    assert len(load_pepper(settings)) == 64


def test_generated_secrets_are_never_overwritten(tmp_path: Path) -> None:
    generate(tmp_path)
    before = (tmp_path / ".env").read_text(encoding="utf-8")
    again = generate(tmp_path)
    assert again.returncode == 1
    assert "is left as it is" in again.stderr
    assert (tmp_path / ".env").read_text(encoding="utf-8") == before
    assert sorted(path.name for path in tmp_path.iterdir()) == [".env", ".env.example", "scripts"]


def test_the_image_is_locked_compiled_and_unprivileged() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert "--require-hashes -r requirements.lock" in dockerfile
    assert "PYTHONPATH=/app" in dockerfile
    assert "compileall" in dockerfile
    stages = dockerfile.split("\nFROM ")
    assert "\nUSER tandem" in stages[-1]
    for package in ("tandem", "gateway", "router", "fast_model", "slow_worker", "tools", "ui"):
        assert f"COPY {package} {package}\n" in dockerfile


def test_the_build_context_holds_code_and_nothing_else() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]
    assert patterns[0] == "*"
    copied = set(re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE))
    assert {pattern[1:] for pattern in patterns if pattern.startswith("!")} == {name for line in copied for name in line.split()}
