"""The operator's file of MCP servers."""

import json
import stat
from pathlib import Path

import pytest

from tandem.errors import SettingsInvalid
from tandem.settings import Settings, ToolSettings
from tools.mcp.servers import Address, Command, McpServer, read_servers


def written(home: Path, servers: object, mode: int = 0o600) -> Settings:
    path = home / "mcp.json"
    path.write_text(json.dumps({"mcpServers": servers}), encoding="utf-8")
    path.chmod(mode)
    return Settings(home=home)


def test_without_a_file_there_are_no_servers(tmp_path: Path) -> None:
    assert read_servers(Settings(home=tmp_path)) == ()


def test_a_file_that_is_named_must_exist(tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid, match="TANDEM_TOOLS_MCP_FILE"):
        read_servers(Settings(home=tmp_path, tools=ToolSettings(mcp_file=tmp_path / "other.json")))


def test_the_form_that_everybody_knows_is_enough(tmp_path: Path) -> None:
    settings = written(tmp_path, {"Time-Zones": {"command": "uvx", "args": ["mcp-server-time"], "env": {"TZ": "UTC"}}})

    assert read_servers(settings) == (McpServer("time_zones", Command("uvx", ("mcp-server-time",), {"TZ": "UTC"}, None), side_effects={}),)


def test_our_own_keys_are_read(tmp_path: Path) -> None:
    keys: dict[str, object] = {"tools": ["读"], "side_effects": {"读": "read_external"}, "timeout_s": 5, "taints": False, "tenants": ["甲"]}
    (server,) = read_servers(written(tmp_path, {"wiki": {"url": "http://127.0.0.1:9/mcp", "trust_first_use": True, "reads_private": True, **keys}}))

    assert server == McpServer(
        "wiki",
        Address("http://127.0.0.1:9/mcp", {}),
        tools=frozenset({"读"}),
        side_effects={"读": "read_external"},
        timeout_s=5,
        taints=False,
        reads_private=True,
        tenants=frozenset({"甲"}),
        trust_first_use=True,
    )


def test_secrets_come_from_the_environment(tmp_path: Path) -> None:
    settings = written(tmp_path, {"wiki": {"url": "https://wiki.example/mcp", "headers": {"Authorization": "Bearer ${WIKI_TOKEN}"}}}, 0o644)

    (server,) = read_servers(settings, {"WIKI_TOKEN": "s3cret"})

    assert isinstance(server.reach, Address)
    assert server.reach.headers == {"Authorization": "Bearer s3cret"}


def test_a_disabled_server_is_left_out(tmp_path: Path) -> None:
    assert read_servers(written(tmp_path, {"a": {"command": "x", "disabled": True}})) == ()


@pytest.mark.parametrize(
    ("servers", "named"),
    [
        ({"a": {}}, "mcpServers.a needs either 'command' or 'url'"),
        ({"a": {"command": "x", "url": "https://h/"}}, "mcpServers.a needs either"),
        ({"a": {"command": "x", "headers": {"X": "y"}}}, "mcpServers.a is a program"),
        ({"a": {"url": "https://h/", "args": ["x"]}}, "mcpServers.a is an HTTP server"),
        ({"a": {"url": "https://u:p@h/"}}, "mcpServers.a.url"),
        ({"a": {"url": "ftp://h/"}}, "mcpServers.a.url"),
        ({"a": {"url": "https://h/sse", "type": "sse"}}, "the older SSE transport"),
        ({"a": {"command": "x", "autoApprove": ["y"]}}, "mcpServers.a.autoApprove"),
        ({"a": {"command": "x", "timeout_s": 0}}, "mcpServers.a.timeout_s"),
        ({"a": {"command": "x", "timeout_s": "5"}}, "mcpServers.a.timeout_s"),
        ({"a": {"command": "x", "side_effects": {"t": "harmless"}}}, "mcpServers.a.side_effects.t"),
        ({"a": {"command": "x", "tools": ["u"], "side_effects": {"t": "pure"}}}, "side_effects names 't'"),
        ({"a": {"url": "https://h/", "headers": {"Host": "evil"}}}, "'Host' cannot be set"),
        ({"a": {"url": "https://h/", "headers": {"X": "a\r\nb"}}}, "mcpServers.a.headers.X"),
        ({"a": {"url": "https://h/", "headers": {"X": "${MISSING}"}}}, "'MISSING', which is not set"),
        ({"a": {"command": "x", "env": {"K": "${MISSING}"}}}, "mcpServers.a.env.K"),
        ({"a__b": {"command": "x"}}, "cannot begin the name"),
        ({"天气": {"command": "x"}}, "cannot begin the name"),
        ({"a-b": {"command": "x"}, "A_B": {"command": "y"}}, "both be called 'a_b'"),
        ([], "mcpServers"),
    ],
)
def test_a_bad_key_is_named_with_the_file(tmp_path: Path, servers: object, named: str) -> None:
    with pytest.raises(SettingsInvalid) as raised:
        read_servers(written(tmp_path, servers), {})

    assert raised.value.message.startswith(f"{tmp_path}/mcp.json: ")
    assert named in raised.value.message


def test_broken_json_is_told_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "mcp.json").write_text('{"mcpServers": ', encoding="utf-8")

    with pytest.raises(SettingsInvalid, match="line 1 column"):
        read_servers(Settings(home=tmp_path))


def test_a_file_that_others_may_write_starts_nothing(tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid, match="chmod go-w"):
        read_servers(written(tmp_path, {"a": {"command": "x"}}, 0o600 | stat.S_IWGRP))


def test_a_secret_in_a_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid, match="chmod 600"):
        read_servers(written(tmp_path, {"a": {"url": "https://h/", "headers": {"X-Key": "s3cret"}}}, 0o644))
