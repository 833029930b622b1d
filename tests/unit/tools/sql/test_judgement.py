"""Which queries may run, and what a refusal tells."""

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlglot import parse_one
from sqlglot.expressions import Literal

from tools.confined.work import WorkRefused
from tools.sql.allowed import Dialect
from tools.sql.judgement import Relations, judged

SHOP = Relations(frozenset({("public", "orders"), ("public", "销售"), ("audit", "log")}), ("public",), frozenset({"secrets"}))


@pytest.mark.parametrize(
    "query",
    [
        "SELECT 1",
        "SELECT region, SUM(amount) AS total FROM orders GROUP BY region HAVING SUM(amount) > 10 ORDER BY total DESC LIMIT 5",
        "WITH big AS (SELECT * FROM orders WHERE amount > 100) SELECT COUNT(*) FROM big",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9) SELECT i FROM n",
        "SELECT a FROM orders UNION ALL SELECT a FROM orders INTERSECT SELECT a FROM orders",
        "(SELECT 1) UNION (SELECT 2)",
        "SELECT ROW_NUMBER() OVER (PARTITION BY region ORDER BY amount DESC), LAG(amount, 1) OVER (ORDER BY day) FROM orders",
        "SELECT CASE WHEN amount > 1 THEN 'a' ELSE 'b' END, COALESCE(a, 0), CAST(a AS INTEGER), a || 'x' FROM orders o JOIN 销售 s ON o.id = s.id",
        "SELECT 地区, SUM(金额) FROM 销售 WHERE 地区 LIKE '%北%' AND 日期 BETWEEN '2026-01-01' AND '2026-12-31' GROUP BY 地区",
        "SELECT * FROM orders WHERE id IN (SELECT id FROM 销售) AND EXISTS (SELECT 1 FROM orders)",
        "SELECT id FROM orders -- ; DROP TABLE orders",
        "SELECT id /* FOR UPDATE */ FROM orders;",
        "SELECT 'a;b', \"a;\" FROM orders",
    ],
)
@pytest.mark.parametrize("dialect", ["postgres", "sqlite"])
def test_a_query_that_reads_may_run(query: str, dialect: Dialect) -> None:
    assert judged(query, dialect, SHOP)


@pytest.mark.parametrize(
    "query",
    [
        "SELECT DATE_TRUNC('month', day), EXTRACT(YEAR FROM day), amount::numeric, day + INTERVAL '1 day' FROM orders",
        "SELECT COUNT(*) FILTER (WHERE amount > 1), PERCENTILE_CONT(0.5) WITHIN GROUP (ORDER BY amount), STRING_AGG(a, ',') FROM orders",
        "SELECT a ->> 'k', TO_CHAR(day, 'YYYY-MM'), a ILIKE '%x%', a ~ '^x' FROM orders, GENERATE_SERIES(1, 3) AS g(i)",
        "SELECT * FROM audit.log CROSS JOIN LATERAL (SELECT 1) AS q",
        "SELECT region, SUM(a), GROUPING(region) FROM orders GROUP BY ROLLUP (region)",
    ],
)
def test_the_servers_own_ways_of_reading_may_run(query: str) -> None:
    assert judged(query, "postgres", SHOP)


@pytest.mark.parametrize(
    "query",
    [
        "SELECT STRFTIME('%Y-%m', day), DATE(day, 'start of month'), JULIANDAY(day), TOTAL(a), GROUP_CONCAT(a) FROM orders",
        "SELECT MEDIAN(a), STDDEV(a), CORR(a, b), JSON_EXTRACT(a, '$.b'), IIF(a, 1, 2), a GLOB 'x*' FROM orders",
    ],
)
def test_sqlites_own_ways_of_reading_may_run(query: str) -> None:
    assert judged(query, "sqlite")


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("SELECT 1; DROP TABLE orders", "exactly one SELECT"),
        ("SELECT 1;;SELECT 2", "exactly one SELECT"),
        ("", "exactly one SELECT"),
        ("-- nothing", "exactly one SELECT"),
        ("DROP TABLE orders", "only SELECT"),
        ("INSERT INTO orders VALUES (1)", "only SELECT"),
        ("UPDATE orders SET a = 1", "only SELECT"),
        ("DELETE FROM orders", "only SELECT"),
        ("MERGE INTO orders USING x ON true WHEN MATCHED THEN DELETE", "only SELECT"),
        ("TRUNCATE orders", "only SELECT"),
        ("CREATE TABLE x AS SELECT 1", "only SELECT"),
        ("COPY orders TO PROGRAM 'sh'", "only SELECT"),
        ("DO $$ BEGIN END $$", "only SELECT"),
        ("CALL f()", "only SELECT"),
        ("SET ROLE postgres", "only SELECT"),
        ("RESET ROLE", "only SELECT"),
        ("BEGIN", "only SELECT"),
        ("COMMIT", "only SELECT"),
        ("EXPLAIN ANALYZE DELETE FROM orders", "only SELECT"),
        ("LISTEN x", "only SELECT"),
        ("VACUUM", "only SELECT"),
        ("VALUES (1)", "only SELECT"),
        ("WITH d AS (DELETE FROM orders RETURNING *) SELECT * FROM d", "not allowed"),
        ("WITH d AS (INSERT INTO orders VALUES (1) RETURNING *) SELECT * FROM d", "not allowed"),
        ("SELECT * FROM (WITH d AS (UPDATE orders SET a = 1 RETURNING *) SELECT * FROM d) q", "not allowed"),
        ("SELECT * INTO stolen FROM orders", "INTO"),
        ("SELECT * FROM orders FOR UPDATE", "lock rows"),
        ("SELECT * FROM orders FOR KEY SHARE SKIP LOCKED", "lock rows"),
        ("SELECT $1", "parameters"),
        ("SELECT pg_read_file('/etc/passwd')", "pg_read_file() is not allowed"),
        ("SELECT PG_READ_FILE('/etc/passwd')", "pg_read_file() is not allowed"),
        ("SELECT \"pg_read_file\"('/etc/passwd')", "pg_read_file() is not allowed"),
        ("SELECT pg_catalog.pg_read_file('/etc/passwd')", "not allowed"),
        ("SELECT pg_read_file /* x */ ('/etc/passwd')", "pg_read_file() is not allowed"),
        ("SELECT * FROM pg_ls_dir('/')", "pg_ls_dir() is not allowed"),
        ("SELECT * FROM orders, LATERAL pg_sleep(60)", "pg_sleep() is not allowed"),
        ("SELECT id FROM orders WHERE pg_sleep(1) IS NULL", "pg_sleep() is not allowed"),
        ("SELECT id FROM orders ORDER BY pg_sleep(1)", "pg_sleep() is not allowed"),
        ("SELECT lo_import('/etc/passwd')", "lo_import() is not allowed"),
        ("SELECT lo_export(1, '/tmp/x')", "lo_export() is not allowed"),
        ("SELECT * FROM dblink('host=x', 'DROP TABLE y') AS t(a int)", "not allowed"),
        ("SELECT query_to_xml('DELETE FROM orders', true, true, '')", "query_to_xml() is not allowed"),
        ("SELECT set_config('role', 'postgres', false)", "set_config() is not allowed"),
        ("SELECT current_setting('data_directory')", "current_setting() is not allowed"),
        ("SELECT nextval('s')", "nextval() is not allowed"),
        ("SELECT pg_terminate_backend(1)", "pg_terminate_backend() is not allowed"),
        ("SELECT version()", "not allowed"),
        ("SELECT current_user", "not allowed"),
        ("SELECT repeat('x', 1000000000)", "repeat() is not allowed"),
        ("SELECT lpad('x', 1000000000)", "not allowed"),
        ("SELECT 'secrets'::regclass", "not allowed"),
        ("SELECT CAST('secrets' AS regclass)", "not allowed"),
        ("SELECT U&'\\0061'", "not allowed"),
        ("SELECT E'\\'; DROP TABLE orders; --'", "not allowed"),
        ("SELECT * FROM orders TABLESAMPLE SYSTEM (1)", "not allowed"),
        ("SELECT * FROM secrets", "no table 'secrets'"),
        ("SELECT * FROM Secrets", "no table"),
        ("SELECT * FROM public.secrets", "no table"),
        ("SELECT * FROM pg_shadow", "no table"),
        ("SELECT * FROM pg_catalog.pg_class", "no table"),
        ("SELECT * FROM information_schema.tables", "no table"),
        ("SELECT * FROM other.public.orders", "no table"),
        ("SELECT (SELECT a FROM secrets) FROM orders", "no table"),
        ("SELECT * FROM orders WHERE a IN (SELECT a FROM secrets)", "no table"),
        ("SELECT * FROM secrets UNION SELECT * FROM (WITH secrets AS (SELECT 1) SELECT * FROM secrets) q", "give the WITH another"),
        ("SELECT * FROM pg_shadow UNION SELECT * FROM (WITH pg_shadow AS (SELECT 1) SELECT * FROM pg_shadow) q", "give the WITH another"),
        ("TABLE secrets", "no table"),
        ("SELECT * FROM oders", "did you mean orders?"),
        ("SELECT 1\x00; DROP TABLE orders", "zero character"),
        ("SELECT " + "(" * 300 + "1" + ")" * 300, "nested too deeply"),
        ("SELECT 1" + " + 1" * 3_000, "characters"),
        ("SELEC 1", "cannot be read"),
        ("SELECT ＊ FROM orders； DROP TABLE orders", ""),
        ("SELECT 1 FROM orders WHERE a = 'x", "cannot be read"),
    ],
)
def test_anything_else_is_refused_with_what_to_write_instead(query: str, says: str) -> None:
    with pytest.raises(WorkRefused) as raised:
        judged(query, "postgres", SHOP)

    assert says in raised.value.message, raised.value.message


@pytest.mark.parametrize(
    "query",
    [
        "ATTACH DATABASE '/etc/x' AS y",
        "PRAGMA writable_schema = 1",
        "VACUUM INTO '/tmp/x'",
        "SELECT load_extension('/tmp/x.so')",
        "SELECT writefile('/tmp/x', 'y')",
        "SELECT readfile('/etc/passwd')",
        "SELECT edit('x')",
        "SELECT fts3_tokenizer('x')",
        "SELECT randomblob(1000000000)",
        "SELECT * FROM pragma_database_list",
        "SELECT * FROM pragma_table_info('orders')",
        "SELECT sql FROM sqlite_master",
        "SELECT sql FROM main.SQLITE_SCHEMA",
        "REPLACE INTO orders VALUES (1)",
        "SELECT * FROM orders; ATTACH 'x' AS y",
    ],
)
def test_sqlites_ways_out_are_refused(query: str) -> None:
    with pytest.raises(WorkRefused):
        judged(query, "sqlite")


@given(st.text(st.sampled_from("'\"\\;-/*$ ()abUE&\n、；") | st.characters(), max_size=60), st.sampled_from(["postgres", "sqlite"]))
@settings(deadline=None, max_examples=300)
def test_no_text_within_quotes_changes_what_a_query_is(text: str, dialect: Dialect) -> None:
    quoted = "'" + text.replace("'", "''") + "'"
    try:
        written = judged(f"SELECT {quoted} AS a", dialect)
    except WorkRefused:
        return

    tree = parse_one(written, dialect=dialect)
    assert [literal.name for literal in tree.find_all(Literal)] == [text]
    assert written == f"SELECT {quoted} AS a"


@given(st.text(max_size=200), st.sampled_from(["postgres", "sqlite"]))
@settings(deadline=None, max_examples=300)
def test_any_text_is_judged_or_refused(query: str, dialect: Dialect) -> None:
    with suppress(WorkRefused):
        assert judged(query, dialect)
