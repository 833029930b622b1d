"""Settings: sources in order, clear refusals, no secrets shown."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from tandem.errors import SettingsInvalid
from tandem.settings import Section, Settings


def test_defaults_listen_on_loopback_and_keep_state_under_home(tmp_path: Path) -> None:
    settings = Settings.load({"TANDEM_HOME": str(tmp_path)})
    assert settings.is_loopback_only
    assert settings.gateway_url == "http://127.0.0.1:8700"
    assert settings.database_url == f"sqlite:///{tmp_path / 'tandem.sqlite3'}"
    assert settings.models_path == tmp_path / "models"


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    (tmp_path / "tandem.toml").write_text("[gateway]\nport = 9001\nmax_in_flight = 7\n", encoding="utf-8")
    settings = Settings.load({"TANDEM_HOME": str(tmp_path), "TANDEM_GATEWAY_PORT": "9002"})
    assert (settings.gateway.port, settings.gateway.max_in_flight) == (9002, 7)


def test_a_key_with_underscores_reaches_its_section(tmp_path: Path) -> None:
    settings = Settings.load({"TANDEM_HOME": str(tmp_path), "TANDEM_GATEWAY_MAX_BODY_BYTES": "2048", "TANDEM_SLOW_API_KEY": "s3cret"})
    assert settings.gateway.max_body_bytes == 2048
    assert settings.slow.api_key is not None
    assert settings.slow.api_key.get_secret_value() == "s3cret"


def test_a_partial_slow_section_keeps_the_slow_lanes_own_defaults(tmp_path: Path) -> None:
    plain = Settings.load({"TANDEM_HOME": str(tmp_path)})
    partial = Settings.load({"TANDEM_HOME": str(tmp_path), "TANDEM_SLOW_SLOTS": "3"})
    assert (partial.slow.port, partial.slow.niceness) == (plain.slow.port, plain.slow.niceness)
    assert partial.slow.port != partial.fast.port


def test_the_egress_list_is_split_at_commas(tmp_path: Path) -> None:
    settings = Settings.load({"TANDEM_HOME": str(tmp_path), "TANDEM_EGRESS_ALLOW": "10.0.0.0/8, hooks.internal"})
    assert settings.egress.allow == ["10.0.0.0/8", "hooks.internal"]


def test_an_empty_variable_counts_as_unset(tmp_path: Path) -> None:
    assert Settings.load({"TANDEM_HOME": str(tmp_path), "TANDEM_FAST_URL": ""}).fast.url is None


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({"TANDEM_GATEWAY_PORT": "x"}, "TANDEM_GATEWAY_PORT"),
        ({"TANDEM_GATEWAY_PORT": "70000"}, "TANDEM_GATEWAY_PORT"),
        ({"TANDEM_GATWAY_PORT": "1"}, "TANDEM_GATWAY_PORT"),
        ({"TANDEM_FAST_URL": "ftp://x"}, "TANDEM_FAST_URL"),
        ({"TANDEM_ROUTER_THRESHOLD": "1.5"}, "TANDEM_ROUTER_THRESHOLD"),
        ({"TANDEM_PEPPER": "short"}, "TANDEM_PEPPER"),
        ({"TANDEM_CONFIG": "/nowhere/tandem.toml"}, "TANDEM_CONFIG"),
    ],
)
def test_a_bad_variable_stops_the_start_and_is_named(environ: dict[str, str], named: str) -> None:
    with pytest.raises(SettingsInvalid, match=named):
        Settings.load(environ)


@pytest.mark.parametrize(
    ("text", "named"),
    [("[gateway]\nport = 99999\n", r"gateway\.port"), ("[slow]\nbar = 1\n", r"slow\.bar"), ("[foo]\na = 1\n", "foo"), ("not toml", "cannot read")],
)
def test_a_bad_file_stops_the_start_and_names_key_and_file(tmp_path: Path, text: str, named: str) -> None:
    path = tmp_path / "tandem.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsInvalid, match=named) as caught:
        Settings.load({"TANDEM_HOME": str(tmp_path)})
    assert str(path) in str(caught.value)


def test_settings_are_frozen(tmp_path: Path) -> None:
    settings = Settings.load({"TANDEM_HOME": str(tmp_path)})
    with pytest.raises(ValidationError):
        settings.gateway.port = 1


def test_secrets_are_masked_and_never_quoted_in_errors() -> None:
    secret = "do-not-show-me"
    with pytest.raises(SettingsInvalid) as caught:
        Settings.load({"TANDEM_PEPPER": secret})
    assert secret not in str(caught.value)
    settings = Settings.load({"TANDEM_API_KEY": secret, "TANDEM_DATABASE_URL": f"postgresql://u:{secret}@h/d"})
    assert secret not in repr(settings)


def test_every_setting_has_a_sentence() -> None:
    for name, field in Settings.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, Section):
            assert section.__doc__, name
            for key, inner in section.model_fields.items():
                assert inner.description, f"{name}.{key} lacks its sentence"
        else:
            assert field.description, f"{name} lacks its sentence"
