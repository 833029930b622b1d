"""API keys from the command line, on a database of their own."""

from pathlib import Path

import pytest

from tandem.cli.entry import run
from tandem.cli.keyring import create_key, ensure_local_key
from tandem.cli.session import ids, open_database
from tandem.ids import DEFAULT_TENANT, KeyId
from tandem.secrets import load_local_key, parse_token, save_local_key
from tandem.settings import Settings


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("TANDEM_HOME", str(tmp_path))
    return tmp_path


def test_the_key_stands_alone_on_the_last_line_and_the_rest_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["keys", "create", "--name", "my-app"]) == 0
    shown = capsys.readouterr()
    assert parse_token(shown.out.splitlines()[-1]) is not None
    assert shown.out.count("\n") == 1
    assert "my-app" in shown.err


def test_a_listed_key_shows_no_secret_and_a_revoked_one_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    run(["keys", "create", "--name", "my-app", "--tenant", "acme", "--scope", "chat"])
    token = parse_token(capsys.readouterr().out.strip())
    assert token is not None
    assert run(["keys", "revoke", token.key_id]) == 0
    capsys.readouterr()
    assert run(["keys", "list"]) == 0
    shown = capsys.readouterr().out
    header, row = shown.splitlines()
    assert row.split()[:4] == [token.key_id, "my-app", "acme", "chat"]
    assert "-" in row[header.index("REVOKED") :]
    assert token.secret not in shown


def test_a_key_may_be_given_single_tools(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["keys", "create", "--name", "x", "--scope", "jobs:write", "--scope", "tools:web_*", "--scope", "tools:sql"]) == 0
    assert "scopes jobs:write, tools:web_*, tools:sql" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--scope", "root"], "--scope 'root': no scope is spelled so; use chat"),
        (["--scope", "tools:网页"], "'tools:web_fetch'"),
        (["--name", ""], "--name ''"),
    ],
)
def test_a_bad_value_is_named(arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["keys", "create", "--name", "x", *arguments]) == 2
    assert told in capsys.readouterr().err


def test_an_unknown_key_cannot_be_revoked(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["keys", "revoke", "key_0000000000000000000000000x"]) == 1
    assert capsys.readouterr().err.startswith("error: ")


async def test_a_local_key_of_a_version_without_tools_is_replaced_and_works_on(home: Path) -> None:
    settings = Settings(home=home)
    async with open_database(settings) as storage:
        older, token = await create_key(storage.keys, settings, ids(), name="local", tenant=DEFAULT_TENANT, scopes=["chat", "admin"])
        save_local_key(settings, token)
        made = await ensure_local_key(storage.keys, settings, ids())
        found = await storage.keys.find(KeyId(older.id))
    assert made not in (None, token)
    assert load_local_key(settings) == made
    assert found is not None
    assert found[0].revoked_at is None


async def test_a_narrow_key_that_somebody_chose_is_left_alone(home: Path) -> None:
    settings = Settings(home=home)
    async with open_database(settings) as storage:
        _, token = await create_key(storage.keys, settings, ids(), name="mine", tenant=DEFAULT_TENANT, scopes=["chat"])
        save_local_key(settings, token)
        assert await ensure_local_key(storage.keys, settings, ids()) is None


async def test_the_local_key_is_made_once_and_again_only_when_it_opens_nothing(home: Path) -> None:
    settings = Settings(home=home)
    async with open_database(settings) as storage:
        first = await ensure_local_key(storage.keys, settings, ids())
        assert first is not None
        assert load_local_key(settings) == first
        assert await ensure_local_key(storage.keys, settings, ids()) is None
        parsed = parse_token(first)
        assert parsed is not None
        await storage.keys.revoke(KeyId(parsed.key_id))
        second = await ensure_local_key(storage.keys, settings, ids())
    assert second is not None
    assert second != first
