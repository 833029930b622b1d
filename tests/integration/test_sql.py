"""The ``sql`` tool on real databases: what it answers, and that no attempt changes them or reads what it may not."""

import asyncio
import hashlib
import json
import sqlite3
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from pydantic import JsonValue

from tandem.egress import GuardedClient
from tandem.errors import SettingsInvalid
from tandem.ids import IdFactory, JobId, TenantId
from tandem.ports import Tool, ToolContext
from tandem.schemas.tools import ToolResult
from tandem.settings import EgressSettings, Settings, ToolSettings
from tandem.testing.services import throw_away_database_here
from tandem.testing.suites.tool import ToolConformance
from tools.confined.process import Confinement
from tools.offers import Supplies
from tools.sql.databases import read_databases
from tools.sql.tool import SqlTool, offer
from tools.wrappers import guarded

pytestmark = pytest.mark.integration

SHOP = """
CREATE TABLE orders (id INTEGER PRIMARY KEY, region TEXT, amount NUMERIC, day DATE, note TEXT);
INSERT INTO orders VALUES (1, '北京', 12.5, '2026-01-03', 'x'), (2, '上海', 3, '2026-02-14', NULL), (3, '北京', 100, '2026-02-20', 'y');
CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT);
INSERT INTO customers VALUES (1, 'Ada'), (2, '王芳');
CREATE TABLE secrets (word TEXT);
INSERT INTO secrets VALUES ('swordfish');
CREATE VIEW big AS SELECT region, amount FROM orders WHERE amount > 10;
"""
POSTGRES_MORE = """
CREATE SCHEMA hidden; CREATE TABLE hidden.plans (plan TEXT); INSERT INTO hidden.plans VALUES ('swordfish');
CREATE SEQUENCE counter;
CREATE FUNCTION wipe() RETURNS int LANGUAGE sql SECURITY DEFINER AS $$ DELETE FROM customers RETURNING 1 $$;
CREATE VIEW wiping AS SELECT wipe();
CREATE TABLE kinds (n NUMERIC, b BYTEA, j JSONB, u UUID, a INT[], f DOUBLE PRECISION, long TEXT);
INSERT INTO kinds VALUES (12345678901234567890.5, '\\x0102', '{"k": "值"}', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '{1,2}', 'NaN',
  repeat('x', 1000000));
"""
SHOWN = ["orders", "customers", "big"]


def context(tenant: str = "acme") -> ToolContext:
    return ToolContext(TenantId(tenant), JobId("job_1"), "c1")


def sql_tool(folder: Path, environ: Mapping[str, str], **databases: Mapping[str, object]) -> Tool:
    file = folder / "sql.json"
    file.write_text(json.dumps({"databases": databases}), encoding="utf-8")
    return guarded(SqlTool(read_databases(file, environ), Confinement()))


@pytest.fixture(scope="module")
def postgres() -> Iterator[tuple[str, str]]:
    """A shop's database: its owner's address, and that of an ordinary user who may read all of it."""
    with throw_away_database_here() as url:
        reader = f"tandem_reader_{uuid.uuid4().hex[:12]}"
        asyncio.run(_administer(url, SHOP + POSTGRES_MORE + _GRANTS.replace("READER", reader)))
        yield url, url.replace("postgresql://", f"postgresql://{reader}@")
        asyncio.run(_administer(url, f"DROP OWNED BY {reader}; DROP ROLE {reader}"))


_GRANTS = """
CREATE ROLE READER LOGIN; GRANT USAGE ON SCHEMA public, hidden TO READER; GRANT USAGE ON SEQUENCE counter TO READER;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public, hidden TO READER; GRANT CREATE ON SCHEMA public TO READER;
"""
"""A user who could write: it is not the grants that hold it."""


async def _administer(url: str, statements: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute(statements)
    await connection.close()


async def digest_of(url: str) -> str:
    """Of every row of every table, every name of the schema, and the sequence."""
    connection = await asyncpg.connect(url)
    tables = [
        str(row[0]) for row in await connection.fetch("SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r' AND oid > 16383 ORDER BY 1")
    ]
    rows = [tables, await connection.fetch("SELECT last_value, is_called FROM counter")]
    rows += [await connection.fetch(f"SELECT t::text FROM {table} t ORDER BY 1") for table in tables]  # noqa: S608
    await connection.close()
    return hashlib.sha256(repr(rows).encode()).hexdigest()


@pytest.fixture
def lite(tmp_path: Path) -> Path:
    path = tmp_path / "商店.sqlite3"
    connection = sqlite3.connect(path)
    connection.executescript(SHOP)
    connection.close()
    return path


@pytest.fixture(params=["sqlite", "postgres"])
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Tool:
    """The shop, of which three tables may be read."""
    if request.param == "sqlite":
        return sql_tool(tmp_path, {}, shop={"url": f"sqlite:///{request.getfixturevalue('lite')}", "tables": SHOWN, "timeout_s": 1})
    _, url = request.getfixturevalue("postgres")
    return sql_tool(tmp_path, {"SHOP": url}, shop={"url_env": "SHOP", "tables": SHOWN, "timeout_s": 1})


async def ask(tool: Tool, query: str, **more: JsonValue) -> dict[str, Any]:
    result = await tool.run({"action": "query", "query": query, **more}, context())
    assert result.ok, result.error
    assert isinstance(result.output, dict)
    return result.output


async def refusal(tool: Tool, query: str) -> str:
    return said(await tool.run({"action": "query", "query": query}, context()))


def said(result: ToolResult) -> str:
    return f"{result.error.code}: {result.error.message}" if result.error else f"no refusal but {result.output}"


class TestSql(ToolConformance):
    @pytest.fixture
    def tool(self, shop: Tool) -> Tool:
        return shop

    @pytest.fixture
    def good_arguments(self) -> dict[str, JsonValue]:
        return {"action": "query", "query": "SELECT COUNT(*) FROM orders"}


@pytest.mark.parametrize(
    ("query", "rows"),
    [
        ("SELECT region, SUM(amount) AS total FROM orders GROUP BY region ORDER BY total DESC", [["北京", 112.5], ["上海", 3]]),
        ("WITH o AS (SELECT * FROM orders WHERE region = '北京') SELECT COUNT(*), MAX(day) FROM o", [[2, "2026-02-20"]]),
        ("SELECT name FROM customers WHERE name LIKE '王%'", [["王芳"]]),
        (
            "SELECT o.region, c.name, NULL FROM orders o JOIN customers c ON c.id = o.id ORDER BY 1 DESC",
            [["北京", "Ada", None], ["上海", "王芳", None]],
        ),
        ("SELECT COUNT(*) FROM big", [[2]]),
        ("SELECT id FROM orders UNION SELECT 9 ORDER BY id DESC LIMIT 2", [[9], [3]]),
        ("SELECT 'it''s', 1.5, 1 = 1 FROM customers WHERE id = 1 -- end", [["it's", 1.5, True]]),
    ],
)
async def test_the_same_question_has_the_same_answer_on_both(shop: Tool, query: str, rows: list[list[JsonValue]]) -> None:
    assert (await ask(shop, query))["rows"] == rows


async def test_describe_shows_what_may_be_read_and_nothing_else(shop: Tool) -> None:
    result = await shop.run({"action": "describe"}, context())

    assert isinstance(result.output, dict)
    tables: Any = result.output["tables"]
    assert sorted(table["table"] for table in tables) == sorted(SHOWN)
    orders = next(table for table in tables if table["table"] == "orders")
    assert [column["name"] for column in orders["columns"]] == ["id", "region", "amount", "day", "note"]
    assert orders["sample"][0][:3] == [1, "北京", 12.5]
    assert "swordfish" not in str(result.output)


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("SELECT amout FROM orders", "did you mean amount?"),
        ("SELECT * FROM oders", "did you mean orders"),
        ("SELECT region FROM orders GROUP BY", "change the query"),
        ("SELECT * FROM secrets", "there is no table 'secrets'"),
        ("SELECT COUNT(*) FROM secrets", "there is no table 'secrets'"),
        ("SELECT (SELECT word FROM secrets) FROM orders", "there is no table 'secrets'"),
        ("SELECT 1 FROM orders WHERE EXISTS (SELECT 1 FROM secrets)", "there is no table 'secrets'"),
    ],
)
async def test_a_query_that_fails_is_told_what_there_is(shop: Tool, query: str, says: str) -> None:
    message = await refusal(shop, query)

    assert says in message or "not_allowed" in message
    assert "swordfish" not in message


ATTEMPTS = [
    "SELECT 1; DELETE FROM orders",
    "DELETE FROM orders",
    "WITH d AS (DELETE FROM orders RETURNING *) SELECT * FROM d",
    "WITH d AS (UPDATE orders SET amount = 0 RETURNING *) SELECT * FROM d",
    "SELECT * INTO stolen FROM orders",
    "SELECT * FROM orders FOR UPDATE",
    "INSERT INTO orders SELECT * FROM orders",
    "REPLACE INTO orders VALUES (1, 'x', 1, '2026-01-01', 'x')",
    "CREATE TABLE x AS SELECT 1",
    "CREATE TEMP TABLE x AS SELECT 1",
    "DROP TABLE orders",
    "ALTER TABLE orders ADD COLUMN x TEXT",
    "ATTACH DATABASE '/tmp/tandem-attached.db' AS other",
    "VACUUM INTO '/tmp/tandem-vacuumed.db'",
    "PRAGMA writable_schema = ON",
    "PRAGMA query_only = OFF",
    "SELECT * FROM pragma_table_info('secrets')",
    "SELECT sql FROM sqlite_master",
    "SELECT load_extension('/tmp/x.so')",
    "SELECT nextval('counter')",
    "SELECT setval('counter', 99)",
    "SELECT wipe()",
    "SELECT public.wipe()",
    "SELECT o.wipe FROM orders o",
    "SELECT pg_read_file('/etc/passwd')",
    "SELECT pg_ls_dir('/')",
    "SELECT lo_create(0)",
    "SELECT query_to_xml('DELETE FROM orders', true, true, '')",
    "SELECT pg_advisory_lock(1)",
    "SELECT pg_notify('x', 'y')",
    "COPY orders TO '/tmp/tandem-copied.csv'",
    "COPY orders TO PROGRAM 'id'",
    "DO $$ BEGIN DELETE FROM orders; END $$",
    "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE",
    "RESET ROLE",
    "COMMIT",
    "PREPARE x AS DELETE FROM orders",
    "EXPLAIN ANALYZE DELETE FROM orders",
    "SELECT * FROM hidden.plans",
    "SELECT * FROM pg_shadow",
    "SELECT * FROM pg_catalog.pg_authid",
    "SELECT * FROM information_schema.tables",
    "SELECT * FROM secrets UNION SELECT * FROM (WITH secrets AS (SELECT 'x') SELECT * FROM secrets) q",
    "SELECT 'secrets'::regclass",
    "SELECT 1 /* */ ; /* */ DELETE FROM orders",
    "SELECT 1 FROM orders WHERE 'a' = E'\\'; DELETE FROM orders; --'",
    "SELECT ＊ FROM orders；DELETE FROM orders",
    "SELECT 1\u2028; DELETE FROM orders",
    "SELECT chr(59) || 'DELETE FROM orders'; DELETE FROM orders",
]


async def test_no_attempt_changes_the_database_or_reads_what_it_may_not(postgres: tuple[str, str], tmp_path: Path) -> None:
    owner, reader = postgres
    tool = sql_tool(tmp_path, {"SHOP": reader}, shop={"url_env": "SHOP", "tables": SHOWN, "timeout_s": 1})
    before = await digest_of(owner)

    results = {query: await tool.run({"action": "query", "query": query}, context()) for query in ATTEMPTS}

    assert [query for query, result in results.items() if result.ok] == []
    assert "swordfish" not in str(results)
    assert await digest_of(owner) == before
    assert not list(Path("/tmp").glob("tandem-*.csv"))  # noqa: S108


async def test_no_attempt_changes_the_file_or_reads_what_it_may_not(lite: Path, tmp_path: Path) -> None:
    tool = sql_tool(tmp_path, {}, shop={"url": f"sqlite:///{lite}", "tables": SHOWN, "timeout_s": 1})
    before = (hashlib.sha256(lite.read_bytes()).hexdigest(), lite.stat().st_mtime_ns, sorted(tmp_path.iterdir()))

    results = {query: await tool.run({"action": "query", "query": query}, context()) for query in ATTEMPTS}

    assert [query for query, result in results.items() if result.ok] == []
    assert "swordfish" not in str(results)
    assert (hashlib.sha256(lite.read_bytes()).hexdigest(), lite.stat().st_mtime_ns, sorted(tmp_path.iterdir())) == before
    assert not [path for path in ("/tmp/tandem-attached.db", "/tmp/tandem-vacuumed.db") if Path(path).exists()]  # noqa: S108


async def test_a_view_that_writes_fails_in_the_read_only_transaction(postgres: tuple[str, str], tmp_path: Path) -> None:
    owner, reader = postgres
    tool = sql_tool(tmp_path, {"SHOP": reader}, shop={"url_env": "SHOP"})
    before = await digest_of(owner)

    assert "read-only transaction" in await refusal(tool, "SELECT * FROM wiping")
    assert await digest_of(owner) == before


@pytest.mark.parametrize(
    "query",
    [
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT COUNT(*) FROM n",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000) SELECT COUNT(*) FROM n a, n b, n c WHERE a.i + b.i + c.i < 0",
    ],
)
async def test_a_query_without_end_is_stopped_and_the_next_one_answered(shop: Tool, query: str) -> None:
    result = await shop.run({"action": "query", "query": query}, context())

    assert said(result).startswith("timeout")
    assert (await ask(shop, "SELECT COUNT(*) FROM orders"))["rows"] == [[3]]


async def test_rows_beyond_two_hundred_are_left_out_and_said(shop: Tool) -> None:
    output = await ask(shop, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500) SELECT i FROM n ORDER BY i DESC")

    assert (output["row_count"], output["is_truncated"], output["rows"][0]) == (200, True, [500])


async def test_every_kind_of_value_is_json_and_short(postgres: tuple[str, str], tmp_path: Path) -> None:
    tool = sql_tool(tmp_path, {"SHOP": postgres[1]}, shop={"url_env": "SHOP"})

    (row,) = (await ask(tool, "SELECT * FROM kinds"))["rows"]

    assert row[:6] == ["12345678901234567890.5", "<2 bytes>", '{"k": "值"}', "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "{1,2}", "nan"]
    assert len(row[6]) == 501


async def test_a_superuser_is_refused_unless_the_operator_allows_it(postgres: tuple[str, str], tmp_path: Path) -> None:
    owner, reader = postgres
    role = reader.partition("//")[2].partition("@")[0]

    assert "superuser" in await refusal(sql_tool(tmp_path, {"SHOP": owner}, shop={"url_env": "SHOP"}), "SELECT 1")
    assert (await ask(sql_tool(tmp_path, {"SHOP": owner}, shop={"url_env": "SHOP", "role": role}), "SELECT 1"))["rows"] == [[1]]
    assert (await ask(sql_tool(tmp_path, {"SHOP": owner}, shop={"url_env": "SHOP", "allow_superuser": True}), "SELECT 1"))["rows"] == [[1]]


async def test_a_database_in_write_ahead_mode_is_read(lite: Path, tmp_path: Path) -> None:
    writer = sqlite3.connect(lite)
    writer.execute("PRAGMA journal_mode = WAL")
    writer.execute("INSERT INTO customers VALUES (3, 'new')")
    writer.commit()

    assert (await ask(sql_tool(tmp_path, {}, shop={"url": f"sqlite:///{lite}"}), "SELECT COUNT(*) FROM customers"))["rows"] == [[3]]
    writer.close()


@pytest.mark.parametrize("url", ["sqlite:////nowhere/x.db", "postgresql://127.0.0.1:1/x", "postgresql://127.0.0.1:5432/tandem_no_such_database"])
async def test_a_database_that_is_gone_is_a_retryable_error_without_its_address(tmp_path: Path, url: str) -> None:
    result = await sql_tool(tmp_path, {"GONE": url}, shop={"url_env": "GONE"}).run({"action": "describe"}, context())

    assert result.error is not None
    assert (result.error.code, result.error.retryable) == ("database_unavailable", True)
    assert "127.0.0.1" not in result.error.message


async def test_a_database_of_another_tenant_does_not_exist(lite: Path, tmp_path: Path) -> None:
    mine, theirs = {"url": f"sqlite:///{lite}", "description": "the shop"}, {"url": f"sqlite:///{lite}", "tenants": ["other"]}
    tool = sql_tool(tmp_path, {}, mine=mine, theirs=theirs)

    result = await tool.run({"action": "describe", "database": "theirs"}, context())

    assert said(result) == "unknown_database: there is no database 'theirs'; there are: mine (the shop)"
    assert (await tool.run({"action": "describe", "database": "theirs"}, context("other"))).ok
    assert "theirs" not in tool.spec.description


async def test_rows_of_strangers_taint_where_the_operator_says_so(lite: Path, tmp_path: Path) -> None:
    for taints in (False, True):
        tool = sql_tool(tmp_path, {}, shop={"url": f"sqlite:///{lite}", "taints": taints})
        assert (await tool.run({"action": "query", "query": "SELECT note FROM orders"}, context())).is_tainted is taints


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "sql.json"),
        ("[]", "databases"),
        ('{"databases": {"a": {}}}', "either 'url' or 'url_env'"),
        ('{"databases": {"a": {"url": "sqlite:///x", "url_env": "X"}}}', "either 'url' or 'url_env'"),
        ('{"databases": {"a": {"url_env": "NOT_SET"}}}', "'NOT_SET' is not set"),
        ('{"databases": {"a": {"url": "mysql://x"}}}', "must begin with"),
        ('{"databases": {"a": {"url": "postgresql://me:sesame@x/y"}}}', "password"),
        ('{"databases": {"a": {"url": "sqlite:///x", "tabels": []}}}', "tabels"),
    ],
)
def test_a_wrong_file_stops_the_start_and_names_the_key(tmp_path: Path, content: str, says: str) -> None:
    file = tmp_path / "sql.json"
    file.write_text(content, encoding="utf-8")

    with pytest.raises(SettingsInvalid) as raised:
        read_databases(file, {})

    assert says in raised.value.message
    assert "sesame" not in raised.value.message


async def test_without_a_file_the_tool_is_not_offered_and_says_where_it_belongs(tmp_path: Path) -> None:
    (offered,) = await offer(supplies(tmp_path))

    assert offered.tool is None
    assert str(tmp_path / "sql.json") in offered.reason


async def test_a_named_file_that_is_missing_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid):
        await offer(supplies(tmp_path, ToolSettings(sql_file=tmp_path / "gone.json")))


def supplies(home: Path, tools: ToolSettings | None = None) -> Supplies:
    return Supplies(Settings(home=home, tools=tools or ToolSettings()), GuardedClient(EgressSettings()), IdFactory(now_ms=lambda: 0))
