"""Questions to the tables among a job's files."""

from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from tandem.ids import JobId, TenantId
from tandem.ports import Tool, ToolContext
from tandem.schemas.tools import ToolResult
from tandem.testing.documents import csv_of, pdf_of, xlsx_of
from tandem.testing.shelves import MemoryShelf
from tandem.testing.suites.tool import CONTEXT, ToolConformance
from tools.confined.process import Confinement
from tools.sql.tables_tool import TableQueryTool
from tools.wrappers import guarded

SALES = csv_of(
    ["Region", "Order Date", "Amount", "Zip"],
    [["北京", "2026/1/3", "12.5", "01234"], ["上海", "2026/2/14", "3", "00002"], ["北京", "2026/2/1", "", "00003"]],
)
FILES: Mapping[str, bytes | str] = {
    "sales 2026.csv": SALES,
    "人口.xlsx": xlsx_of({"城市": [["城市", "人口"], ["北京", 2189], ["上海", 2487]]}),
    "notes.md": "nothing tabular",
}


@pytest.fixture
def tool() -> Tool:
    return guarded(TableQueryTool(Confinement()))


async def call(tool: Tool, arguments: dict[str, JsonValue], files: Mapping[str, bytes | str] = FILES) -> ToolResult:
    return await tool.run(arguments, ToolContext(TenantId("acme"), JobId("job_1"), "c1", MemoryShelf(files)))


async def ask(tool: Tool, query: str, files: Mapping[str, bytes | str] = FILES) -> dict[str, JsonValue]:
    result = await call(tool, {"action": "query", "query": query}, files)
    assert result.ok, result.error
    assert isinstance(result.output, dict)
    return result.output


def said(result: ToolResult) -> str:
    return f"{result.error.code}: {result.error.message}" if result.error else ""


class TestTableQuery(ToolConformance):
    """Over a shelf with a table."""

    @pytest.fixture
    def tool(self) -> Tool:
        inner = guarded(TableQueryTool(Confinement()))

        class OnShelf:
            spec = inner.spec

            async def run(self, arguments: Mapping[str, JsonValue], context: ToolContext) -> ToolResult:
                return await inner.run(arguments, ToolContext(context.tenant, context.job_id, context.call_id, MemoryShelf(FILES)))

        assert CONTEXT.shelf is not None
        return OnShelf()

    @pytest.fixture
    def good_arguments(self) -> dict[str, JsonValue]:
        return {"action": "query", "query": "SELECT COUNT(*) FROM sales_2026"}


async def test_describe_shows_tables_columns_types_and_first_rows(tool: Tool) -> None:
    result = await call(tool, {"action": "describe"})

    assert isinstance(result.output, dict)
    sales, cities = result.output["tables"]  # type: ignore[misc]
    assert sales == {
        "table": "sales_2026",
        "columns": [
            {"name": "Region", "type": "TEXT"},
            {"name": "Order_Date", "type": "DATE"},
            {"name": "Amount", "type": "REAL"},
            {"name": "Zip", "type": "TEXT"},
        ],
        "rows": 3,
        "sample": [["北京", "2026-01-03", 12.5, "01234"], ["上海", "2026-02-14", 3.0, "00002"], ["北京", "2026-02-01", None, "00003"]],
    }
    assert (cities["table"], cities["rows"]) == ("人口", 2)  # type: ignore[call-overload,index]


async def test_tables_of_two_files_can_be_joined(tool: Tool) -> None:
    output = await ask(
        tool, "SELECT p.城市, 人口, SUM(amount) AS 总额 FROM sales_2026 s JOIN 人口 p ON p.城市 = s.region GROUP BY 1, 2 ORDER BY 3 DESC"
    )

    assert output == {"columns": ["城市", "人口", "总额"], "rows": [["北京", 2189, 12.5], ["上海", 2487, 3.0]], "row_count": 2, "is_truncated": False}


async def test_the_statistics_that_sqlite_lacks_are_there(tool: Tool) -> None:
    numbers = {"n.csv": csv_of(["a", "b"], [[1, 2], [2, 4], [3, 6], [10, 20]])}
    output = await ask(
        tool, "SELECT MEDIAN(a), PERCENTILE_CONT(a, 0.25), ROUND(STDDEV(a), 3), VARIANCE(a), STDDEV_POP(a) > 3, CORR(a, b) FROM n", numbers
    )

    assert output["rows"] == [[2.5, 1.75, 4.082, pytest.approx(50 / 3), 1, pytest.approx(1.0)]]


@pytest.mark.parametrize(
    ("name", "content", "rows"),
    [
        ("t.tsv", "a\tb\n1\tx\n", [[1, "x"]]),
        ("t.csv", "a;b\n1;x,y\n", [[1, "x,y"]]),
        ("t.csv", '"a","b"\n"1,234","x\ny"\n', [[1234.0, "x\ny"]]),
        ("t.csv", "金额，备注\n3，退款\n".encode("gbk"), [[3, "退款"]]),
        ("t.csv", "a,b\n1,N/A\n2,3\n", [[1, None], [2, 3]]),
        ("t.csv", "d\n2026年3月1日\n2026年12月10日\n", [["2026-03-01"], ["2026-12-10"]]),
        ("t.csv", "a,a,,1 x\n1,2,3,4\n", [[1, 2, 3, 4]]),
        ("t.csv", "a,b\n1\n1,2,3\n", [[1, None], [1, 2]]),
        ("t.csv", "id\n99999999999999999999\n", [["99999999999999999999"]]),
        ("t.json", '[{"a": 1, "b": {"c": [2]}}, {"a": null}]', [[1, '{"c": [2]}'], [None, None]]),
        ("t.jsonl", '{"a": 1}\n{"a": true}\n', [[1], [1]]),
        ("t.json", '{"rows": [{"a": "x"}], "total": 1}', [["x"]]),
        ("t.xlsx", xlsx_of({"A": [["k", "v"], ["x", 1.5]]}), [["x", 1.5]]),
    ],
)
async def test_tables_load_as_people_write_them(tool: Tool, name: str, content: bytes | str, rows: list[list[JsonValue]]) -> None:
    assert (await ask(tool, "SELECT * FROM t", {name: content}))["rows"] == rows


async def test_sheets_become_tables_of_their_own(tool: Tool) -> None:
    result = await call(tool, {"action": "describe"}, {"b.xlsx": xlsx_of({"Q1": [["a"], [1]], "第二季": [["a"], [2]]})})

    assert [table["table"] for table in result.output["tables"]] == ["b_Q1", "b_第二季"]  # type: ignore[index,call-overload,union-attr]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"action": "query"}, "needs `query`"),
        ({"action": "query", "query": "SELECT amout FROM sales_2026"}, "did you mean Amount?"),
        ({"action": "query", "query": "SELECT * FROM sales"}, "did you mean sales_2026?"),
        ({"action": "query", "query": "DELETE FROM sales_2026"}, "only SELECT"),
        ({"action": "query", "query": "SELECT * FROM sales_2026 WHERE"}, "syntax_error"),
        ({"action": "query", "query": "SELECT ROUND(Region, 2, 3) FROM sales_2026"}, "ROUND"),
        ({"action": "describe", "files": ["nope.csv"]}, "there are: sales 2026.csv"),
        ({"action": "describe", "files": ["notes.md", "notes.md"]}, ""),
    ],
)
async def test_a_wrong_call_is_told_what_to_do(tool: Tool, arguments: dict[str, JsonValue], says: str) -> None:
    assert says in said(await call(tool, arguments))


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({}, "ask the user to attach one"),
        ({"a.md": "x"}, "there are: a.md"),
        ({"a.csv": ""}, "empty"),
        ({"a.json": "{broken"}, "cannot be read"),
        ({"a.json": "[1, 2]"}, "first row must name the columns"),
        ({"a.xlsx": xlsx_of({"A": [[1]]})[:900]}, "whole copy"),
        ({"a.csv": ",".join("abc" * 300) + "\n1"}, "at most 500"),
        ({"a.csv": pdf_of(["x"])}, "is no table"),
    ],
)
async def test_files_that_hold_no_table_are_told_apart(tool: Tool, files: Mapping[str, bytes | str], says: str) -> None:
    assert says in said(await call(tool, {"action": "describe"}, files))


@pytest.mark.parametrize(
    "query",
    [
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT COUNT(*) FROM n",
        "SELECT COUNT(*) FROM n a, n b, n c, n d, n e, n f WHERE a.i + b.i + c.i + d.i + e.i + f.i < 0",
        "WITH RECURSIVE n(s) AS (SELECT 'x' UNION ALL SELECT s || s FROM n) SELECT MAX(LENGTH(s)) FROM n",
    ],
)
async def test_a_query_without_end_is_stopped(query: str) -> None:
    result = await call(
        guarded(TableQueryTool(Confinement(), query_s=0.5)),
        {"action": "query", "query": query},
        {"n.csv": "i\n" + "\n".join(str(i) for i in range(200))},
    )

    assert not result.ok
    assert said(result).split(":")[0] in {"timeout", "query_failed", "too_large"}
    assert result.seconds < 10


async def test_many_and_long_cells_are_cut_and_the_cut_is_said(tool: Tool) -> None:
    output = await ask(tool, "SELECT i, s FROM n", {"n.csv": csv_of(["i", "s"], [[i, "文" * 2_000] for i in range(300)])})

    assert output["is_truncated"] is True
    assert "only the first" in str(output["note"])
    assert len(output["rows"][0][1]) == 501  # type: ignore[index,call-overload,arg-type]


async def test_a_query_cannot_see_another_tenants_table(tool: Tool) -> None:
    await call(tool, {"action": "describe"})
    other = ToolContext(TenantId("other"), JobId("job_2"), "c1", MemoryShelf({"x.csv": "a\n1"}))

    assert "no table" in said(await tool.run({"action": "query", "query": "SELECT * FROM sales_2026"}, other))


CELLS = st.text(st.sampled_from('0123456789.,-e年月日/NA"\n; ') | st.characters(exclude_categories=["Cs"]), max_size=12)


@given(st.lists(st.lists(CELLS, min_size=1, max_size=4), min_size=1, max_size=6))
@settings(deadline=None, max_examples=10)
async def test_no_file_and_no_query_make_it_raise(rows: list[list[str]]) -> None:
    text = "\n".join(",".join(row) for row in rows)
    result = await call(
        guarded(TableQueryTool(Confinement())), {"action": "query", "query": " ".join(("SELECT * FROM t WHERE", rows[0][0]))}, {"t.csv": text}
    )

    assert result.ok is (result.error is None)


async def test_parts_of_a_date_are_written_as_in_other_databases(tool: Tool) -> None:
    output = await ask(tool, "SELECT YEAR(day), MONTH(day), DAY(day) FROM t", {"t.csv": "day,n\n2025-03-09,1"})

    assert output["rows"] == [[2025, 3, 9]]


@pytest.mark.parametrize("query", ["SELECT nothing FROM t", "SELECT * FROM u", "SELECT load_extension('x') FROM t", "SELECT FROM WHERE"])
async def test_a_query_that_fails_is_answered_with_what_there_is_to_ask(tool: Tool, query: str) -> None:
    result = await call(tool, {"action": "query", "query": query}, {"t.csv": "city,人口\nLyon,500"})

    assert "The tables are: t(city TEXT, 人口 INTEGER)" in said(result)
