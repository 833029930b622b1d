"""The operator's list of hosts and the secrets that go there: what stops the start, what is sent where, and what comes back."""

import base64
import json
from pathlib import Path

import pytest

from tandem.egress import FetchLimits, SecretBook, watched
from tandem.errors import EgressDenied, SettingsInvalid
from tandem.schemas.base import JsonObject
from tandem.testing.egress_matrix import AnsweringBackend, matrix_client, redirect_to

TOKEN = "s3cret/Token+42="
ENVIRON = {"API_TOKEN": TOKEN, "SHORT": "abc", "BROKEN": "line\r\nX-Evil: 1", "WIDE": "пароль-пароль"}
ENTRY: JsonObject = {"methods": ["GET", "POST"], "paths": ["/v1/"], "header": "Authorization", "prefix": "Bearer ", "secret_env": "API_TOKEN"}


def book(path: Path, *, name: str = "public.example", **changes: object) -> SecretBook:
    file = path / "http.json"
    file.write_text(json.dumps({"hosts": {name: {**ENTRY, **changes}}}))
    file.chmod(0o600)
    return SecretBook.load(file, ENVIRON)


def plain(path: Path, *hosts: str) -> SecretBook:
    file = path / "http.json"
    file.write_text(json.dumps({"hosts": {host: {"methods": ["GET"]} for host in hosts}}))
    file.chmod(0o600)
    return SecretBook.load(file, {})


def answer(body: bytes, headers: str = "") -> bytes:
    return f"HTTP/1.1 200 OK\r\n{headers}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def test_a_listed_host_gets_its_secret_and_nobody_sees_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    backend, secrets = AnsweringBackend(), book(tmp_path)

    with watched() as watch:
        await matrix_client(backend).fetch("https://public.example/v1/items", headers={"Authorization": "Bearer mine"}, secrets=secrets)

    head = backend.streams[0].written.decode()
    assert f"authorization: Bearer {TOKEN}\r\n" in head
    assert "mine" not in head
    shown = f"{watch.reached}{secrets.admit('GET', 'https://public.example/v1/')!r}{caplog.text}{secrets.listed(frozenset({'GET'}))}"
    assert TOKEN not in shown


@pytest.mark.parametrize(
    ("method", "url"),
    [
        ("GET", "https://start.example/v1/x"),
        ("GET", "https://public.example:8443/v1/x"),
        ("GET", "https://sub.public.example/v1/x"),
        ("DELETE", "https://public.example/v1/x"),
        ("GET", "https://public.example/v1"),
        ("GET", "https://public.example/"),
        ("GET", "https://public.example/v2/?/v1/"),
        ("GET", "https://public.example?/v1/"),
        ("GET", "https://public.example/v1/../admin"),
        ("GET", "https://public.example/v1/%2e%2E/admin"),
        ("GET", "https://public.example/v1/..;x=1/admin"),
        ("GET", "https://public.example/v1/..%2fadmin"),
        ("GET", "https://public.example/v1/%252e%252e/admin"),
        ("GET", "https://public.example/v1/%00"),
        ("GET", "https://public.example@start.example/v1/"),
        ("GET", "file:///v1/"),
    ],
)
async def test_what_is_not_listed_is_neither_resolved_nor_dialled(method: str, url: str, tmp_path: Path) -> None:
    backend = AnsweringBackend()
    with watched() as watch, pytest.raises(EgressDenied):
        await matrix_client(backend).fetch(url, method=method, secrets=book(tmp_path))
    assert (backend.dialled, [reached.is_refused for reached in watch.reached]) == ([], [True])
    assert all(reached.host in url for reached in watch.reached)


@pytest.mark.parametrize("url", ["https://PUBLIC.example./v1/a//b?c=../d", "https://public.example:443/v1/", "https://public.example/v1/名"])
async def test_what_is_listed_is_reached_however_it_is_spelled(url: str, tmp_path: Path) -> None:
    assert (await matrix_client(AnsweringBackend()).fetch(url, secrets=book(tmp_path))).status == 200


async def test_an_exact_path_is_that_path_only(tmp_path: Path) -> None:
    client, secrets = matrix_client(AnsweringBackend()), book(tmp_path, paths=["/v1/items"])
    assert (await client.fetch("https://public.example/v1/items?x=1", secrets=secrets)).status == 200
    with pytest.raises(EgressDenied, match=r"with GET you may ask: GET public.example/v1/items"):
        await client.fetch("https://public.example/v1/items/2", secrets=secrets)


async def test_who_may_read_may_ask_for_the_head(tmp_path: Path) -> None:
    response = await matrix_client(AnsweringBackend(answer(b""))).fetch("https://public.example/v1/", method="HEAD", secrets=book(tmp_path))
    assert response.status == 200


async def test_no_secret_follows_a_redirect_to_another_origin_and_none_comes_back(tmp_path: Path) -> None:
    file = tmp_path / "http.json"
    file.write_text(json.dumps({"hosts": {"public.example": ENTRY, "start.example": {"methods": ["GET"]}}}))
    backend = AnsweringBackend(redirect_to("https://start.example/x"), redirect_to("https://public.example/v1/back"), answer(b"ok"))

    await matrix_client(backend).fetch("https://public.example/v1/a", secrets=SecretBook.load(file, ENVIRON))

    assert [TOKEN.encode() in stream.written for stream in backend.streams] == [True, False, False]


@pytest.mark.parametrize("location", ["/v2/", "https://start.example/", "/v1/../x"])
async def test_a_redirect_leads_only_to_what_is_listed(location: str, tmp_path: Path) -> None:
    backend = AnsweringBackend(redirect_to(location))
    with pytest.raises(EgressDenied, match="not listed"):
        await matrix_client(backend).fetch("https://public.example/v1/a", secrets=book(tmp_path))
    assert len(backend.streams) == 1


async def test_a_secret_is_never_sent_in_the_clear(tmp_path: Path) -> None:
    backend = AnsweringBackend()
    with pytest.raises(EgressDenied, match="plain http"):
        await matrix_client(backend).fetch("http://public.example/v1/", secrets=book(tmp_path))
    assert backend.dialled == []


async def test_a_host_without_a_secret_may_be_asked_in_the_clear(tmp_path: Path) -> None:
    assert (await matrix_client(AnsweringBackend()).fetch("http://public.example/", secrets=plain(tmp_path, "public.example"))).status == 200


async def test_a_listed_host_is_judged_like_any_other_unless_it_is_marked_private(tmp_path: Path) -> None:
    backend = AnsweringBackend()
    closed, opened = book(tmp_path, name="private.example"), book(tmp_path, name="private.example", private=True)
    with pytest.raises(EgressDenied, match="no address"):
        await matrix_client(backend).fetch("https://private.example/v1/", rules=closed.rules, secrets=closed)
    assert backend.dialled == []
    with pytest.raises(ConnectionError):
        await matrix_client(backend).fetch("http://private.example/v1/", rules=opened.rules, secrets=opened)
    assert backend.dialled == [("10.1.2.3", 80)]


async def test_a_port_of_its_own_is_listed_with_the_host(tmp_path: Path) -> None:
    backend, secrets = AnsweringBackend(), book(tmp_path, name="public.example:8080")
    await matrix_client(backend).fetch("https://public.example:8080/v1/", rules=secrets.rules, secrets=secrets)
    assert backend.dialled[0][1] == 8080
    with pytest.raises(EgressDenied):
        await matrix_client(backend).fetch("https://public.example/v1/", rules=secrets.rules, secrets=secrets)


@pytest.mark.parametrize(
    "echoed",
    [
        TOKEN,
        f"Bearer {TOKEN}",
        "s3cret%2FToken%2B42%3D",
        base64.b64encode(TOKEN.encode()).decode(),
        base64.urlsafe_b64encode(f"Bearer {TOKEN}".encode()).decode(),
    ],
)
async def test_a_secret_that_comes_back_is_masked(echoed: str, tmp_path: Path) -> None:
    reply = answer(f"<{echoed}> and {echoed}".encode(), f"X-Echo: {echoed}\r\n")
    response = await matrix_client(AnsweringBackend(reply)).fetch("https://public.example/v1/", secrets=book(tmp_path))
    assert response.body.decode().replace("Bearer ", "") == "<[secret]> and [secret]"
    assert response.headers["x-echo"].removeprefix("Bearer ") == "[secret]"


@pytest.mark.parametrize("limit", [1, 15, 16, 17, 40, 41, 100, 333, 400])
async def test_a_secret_that_the_limit_would_cut_in_two_is_masked_too(limit: int, tmp_path: Path) -> None:
    client = matrix_client(AnsweringBackend(answer(f"{TOKEN} ".encode() * 100)))
    response = await client.fetch("https://public.example/v1/", secrets=book(tmp_path), limits=FetchLimits(max_bytes=limit))
    assert response.body.decode().replace("[secret]", "").strip("[secrt] ") == ""
    assert len(response.body) <= limit


async def test_an_answer_without_the_secret_is_as_long_as_the_limit(tmp_path: Path) -> None:
    client = matrix_client(AnsweringBackend(answer(b"a" * 500)))
    response = await client.fetch("https://public.example/v1/", secrets=book(tmp_path), limits=FetchLimits(max_bytes=100))
    assert (response.body, response.is_truncated) == (b"a" * 100, True)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "line 1, column 2"),
        ("[]", "the file"),
        ("{}", "hosts"),
        ('{"hosts": {"x.example": {}}}', "hosts.x.example.methods"),
        ('{"hosts": {"x.example": {"methods": ["TRACE"]}}}', "methods.0"),
        ('{"hosts": {"x.example": {"methods": []}}}', "methods"),
        ('{"hosts": {"x.example": {"methods": ["GET"], "paths": ["v1"]}}}', "paths.0"),
        ('{"hosts": {"x.example": {"methods": ["GET"], "secret": "hunter22"}}}', "secret_env"),
        ('{"hosts": {"x.example": {"methods": ["GET"], "header": "Authorization"}}}', "exactly one"),
        ('{"hosts": {"x.example": {"methods": ["GET"], "secret_env": "API_TOKEN"}}}', "exactly one"),
        ('{"hosts": {"x.example": {"methods": ["GET"], "header": "a", "secret_env": "b", "secret_file": "c"}}}', "exactly one"),
        ('{"hosts": {"x.example": {"methods": ["GET"], "header": "Host", "secret_env": "API_TOKEN"}}}', "'Host'"),
        ('{"hosts": {"x.example": {"methods": ["GET"], "header": "a b", "secret_env": "API_TOKEN"}}}', "'a b'"),
        ('{"hosts": {"x.example": {"methods": ["GET"], "header": "X", "secret_env": "MISSING"}}}', "secret_env 'MISSING'"),
        ('{"hosts": {"x.example": {"methods": ["GET"], "header": "X", "secret_env": "SHORT"}}}', "at least 8"),
        ('{"hosts": {"x.example": {"methods": ["GET"], "header": "X", "secret_env": "BROKEN"}}}', "printable"),
        ('{"hosts": {"x.example": {"methods": ["GET"], "header": "X", "secret_env": "WIDE"}}}', "printable"),
        ('{"hosts": {"x.example": {"methods": ["GET"], "header": "X", "secret_file": "gone"}}}', "cannot be read"),
        ('{"hosts": {"https://x.example": {"methods": ["GET"]}}}', "host name"),
        ('{"hosts": {"x.example/v1": {"methods": ["GET"]}}}', "paths"),
        ('{"hosts": {"127.1": {"methods": ["GET"]}}}', "canonical"),
        ('{"hosts": {"*.example": {"methods": ["GET"]}}}', "not a valid name"),
    ],
)
def test_a_bad_file_stops_the_start_and_names_the_key(text: str, words: str, tmp_path: Path) -> None:
    file = tmp_path / "http.json"
    file.write_text(text)
    file.chmod(0o600)
    with pytest.raises(SettingsInvalid) as caught:
        SecretBook.load(file, ENVIRON)
    assert str(file) in caught.value.message
    assert words in caught.value.message
    assert "hunter22" not in caught.value.message


def test_a_missing_file_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid, match="cannot be read"):
        SecretBook.load(tmp_path / "none.json", {})


def test_a_file_that_others_may_write_stops_the_start(tmp_path: Path) -> None:
    book(tmp_path)
    (tmp_path / "http.json").chmod(0o622)
    with pytest.raises(SettingsInvalid, match="chmod go-w"):
        SecretBook.load(tmp_path / "http.json", ENVIRON)


def test_a_secret_is_read_from_a_file_that_only_its_owner_reads(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    (tmp_path / "token").chmod(0o644)
    with pytest.raises(SettingsInvalid, match="chmod 600"):
        book(tmp_path, secret_env=None, secret_file="token")
    (tmp_path / "token").chmod(0o600)
    secret = book(tmp_path, secret_env=None, secret_file="token").admit("GET", "https://public.example/v1/")
    assert secret is not None
    assert secret.value == f"Bearer {TOKEN}"
