"""Secrets on disk and the format of tokens."""

import hmac
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from tandem.errors import SettingsInvalid
from tandem.ids import IdFactory, KeyId
from tandem.secrets import digest, load_local_key, load_pepper, load_webhook_secret, new_token, parse_token, save_local_key, seal, unseal
from tandem.settings import Settings
from tandem.webhooks import parse_secret

KEY = KeyId("key_" + "0123456789abcdefghjkmnpqrs")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_secret_is_made_once_and_kept(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    assert load_pepper(settings) == load_pepper(Settings(home=tmp_path))
    assert len(load_pepper(settings)) >= 32


def test_files_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    load_pepper(settings)
    load_webhook_secret(settings)
    save_local_key(settings, "tdm_x")
    folder = tmp_path / "secrets"
    assert mode(folder) == 0o700
    assert {path.name: mode(path) for path in folder.iterdir()} == {"pepper": 0o600, "webhook_secret": 0o600, "local_key": 0o600}


def test_a_loose_folder_is_tightened(tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir(mode=0o755)
    load_pepper(Settings(home=tmp_path))
    assert mode(tmp_path / "secrets") == 0o700


def test_racing_processes_agree_on_one_value(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    with ThreadPoolExecutor(16) as pool:
        values = set(pool.map(load_pepper, [settings] * 64))
    assert len(values) == 1
    assert [path.name for path in (tmp_path / "secrets").iterdir()] == ["pepper"]


def test_settings_win_over_files(tmp_path: Path) -> None:
    save_local_key(Settings(home=tmp_path), "from the file")
    settings = Settings(home=tmp_path, pepper=SecretStr("p" * 32), webhook_secret=SecretStr("whsec_x"), api_key=SecretStr("k"))
    assert (load_pepper(settings), load_webhook_secret(settings), load_local_key(settings)) == (b"p" * 32, "whsec_x", "k")


def test_a_new_webhook_secret_has_the_standard_form(tmp_path: Path) -> None:
    assert len(parse_secret(load_webhook_secret(Settings(home=tmp_path)))) == 32


def test_the_local_key_can_be_replaced(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    assert load_local_key(settings) is None
    save_local_key(settings, "one")
    save_local_key(settings, "two")
    assert load_local_key(settings) == "two"


def test_an_empty_secret_file_stops_the_start(tmp_path: Path) -> None:
    load_pepper(Settings(home=tmp_path))
    (tmp_path / "secrets" / "pepper").write_text("\n")
    with pytest.raises(SettingsInvalid, match=r"pepper' is empty; restore"):
        load_pepper(Settings(home=tmp_path))


def test_an_unreadable_secret_file_names_itself(tmp_path: Path) -> None:
    load_pepper(Settings(home=tmp_path))
    (tmp_path / "secrets" / "pepper").write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsInvalid, match="cannot read the secret in"):
        load_pepper(Settings(home=tmp_path))


def test_a_home_that_is_no_folder_names_itself(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingsInvalid, match="TANDEM_HOME must be a writable folder"):
        load_pepper(Settings(home=tmp_path / "file"))


def test_a_token_parses_back_to_its_parts() -> None:
    key = IdFactory(now_ms=lambda: 1).key()
    made = new_token(key)
    assert parse_token(made.token) == (key, made.secret)
    assert new_token(key).secret != made.secret


def test_a_token_never_shows_in_repr() -> None:
    made = new_token(KEY)
    parsed = parse_token(made.token)
    assert made.secret not in repr(made)
    assert parsed is not None
    assert made.secret not in repr(parsed)
    assert str(KEY) in repr(parsed)


GOOD = new_token(KEY, random_bytes=bytes).token


@pytest.mark.parametrize(
    "token",
    [
        "",
        ".",
        "tdm_",
        f" {GOOD}",
        f"{GOOD}\n",
        f"{GOOD}=",
        GOOD[:-1],
        GOOD[:-1] + "B",
        GOOD.upper(),
        GOOD.replace("tdm_", "sk_"),
        GOOD.replace(".", ":"),
        GOOD.replace("0123", "012i"),
        GOOD.replace("0123", "012٣"),
        f"tdm_{'0' * 26}.",
        f"Bearer {GOOD}",
        f"{GOOD},{GOOD}",
    ],
)
def test_a_malformed_token_never_parses(token: str) -> None:
    assert parse_token(GOOD) is not None
    assert parse_token(token) is None


@given(st.text())
def test_text_at_large_is_no_token(text: str) -> None:
    assert parse_token(text) is None


def test_the_digest_is_hmac_sha256_under_the_pepper() -> None:
    assert digest(b"pepper", "secret") == hmac.new(b"pepper", b"secret", "sha256").digest()
    assert digest(b"other", "secret") != digest(b"pepper", "secret")


def test_a_sealed_secret_opens_for_its_owner_and_shows_nothing() -> None:
    sealed = seal(b"pepper", "whe_1", "whsec_abc")
    assert unseal(b"pepper", "whe_1", sealed) == "whsec_abc"
    assert b"whsec" not in sealed
    assert seal(b"pepper", "whe_1", "whsec_abc") != sealed


@pytest.mark.parametrize(("pepper", "owner"), [(b"other", "whe_1"), (b"pepper", "whe_2")])
def test_another_pepper_or_owner_opens_nothing(pepper: bytes, owner: str) -> None:
    with pytest.raises(SettingsInvalid, match="pepper differs"):
        unseal(pepper, owner, seal(b"pepper", "whe_1", "whsec_abc"))


@pytest.mark.parametrize("at", [0, 1, 20, -1])
def test_a_changed_sealed_secret_opens_nothing(at: int) -> None:
    sealed = bytearray(seal(b"pepper", "whe_1", "whsec_abc"))
    sealed[at] ^= 1
    with pytest.raises(SettingsInvalid, match="pepper differs"):
        unseal(b"pepper", "whe_1", bytes(sealed))


@pytest.mark.parametrize("size", [0, 1, 10, 13, 20])
def test_a_cut_sealed_secret_opens_nothing(size: int) -> None:
    with pytest.raises(SettingsInvalid, match="pepper differs"):
        unseal(b"pepper", "whe_1", seal(b"pepper", "whe_1", "whsec_abc")[:size])
