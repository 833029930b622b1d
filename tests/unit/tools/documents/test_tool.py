"""The ``documents`` tool as a model calls it."""

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import JsonValue, SecretStr

from tandem.egress import GuardedClient
from tandem.ids import JobId, TenantId
from tandem.ports import Tool, ToolContext
from tandem.schemas.tools import ToolResult
from tandem.settings import EgressSettings, ToolSettings
from tandem.testing.documents import docx_of, pdf_of
from tandem.testing.scripted_http import Connection
from tandem.testing.shelves import MemoryShelf
from tandem.testing.suites.tool import ToolConformance
from tools.confined.process import Confinement
from tools.documents.library import Library
from tools.documents.meaning import Meaning
from tools.documents.tool import DocumentsTool
from tools.wrappers import guarded

FILES: Mapping[str, bytes | str] = {
    "policy.pdf": pdf_of(["About us.", "Refunds are paid within thirty days of a return.", "收货后三十天内可以申请退款。"]),
    "notes.md": "# Shipping\n\nParcels leave on Monday.",
    "broken.docx": docx_of(["x"])[:4_000],
}


def context_with(files: Mapping[str, bytes | str], tenant: str = "acme", job: str = "job_1") -> ToolContext:
    return ToolContext(tenant=TenantId(tenant), job_id=JobId(job), call_id="c1", shelf=MemoryShelf(files))


def documents(meaning: Meaning | None = None) -> Tool:
    return guarded(DocumentsTool(Library(Confinement(), meaning)))


async def call(arguments: dict[str, JsonValue], files: Mapping[str, bytes | str] = FILES, tool: Tool | None = None) -> ToolResult:
    return await (tool or documents()).run(arguments, context_with(files))


def output_of(result: ToolResult) -> dict[str, JsonValue]:
    assert result.ok, result.error
    assert isinstance(result.output, dict)
    return result.output


def said(result: ToolResult) -> str:
    return f"{result.error.code}: {result.error.message}" if result.error else ""


class TestDocuments(ToolConformance):
    @pytest.fixture
    def tool(self) -> Tool:
        return documents()

    @pytest.fixture
    def good_arguments(self) -> dict[str, JsonValue]:
        return {"action": "list"}


async def test_list_names_the_files_of_the_job() -> None:
    output = output_of(await call({"action": "list"}))

    assert [file["file"] for file in output["files"]] == list(FILES)  # type: ignore[index,union-attr,call-overload]


@pytest.mark.parametrize(("query", "page", "quote"), [("refund period", 2, "thirty days"), ("什么时候可以申请退款", 3, "三十天")])
async def test_a_passage_comes_with_its_exact_place_and_the_files_that_could_not_be_searched(query: str, page: int, quote: str) -> None:
    tool = documents()
    result = await call({"action": "search", "query": query}, tool=tool)
    whole = output_of(await call({"action": "read", "file": "policy.pdf"}, tool=tool))["text"]

    best = result.citations[0]
    assert (best.source, best.page) == ("policy.pdf", page)
    assert quote in best.quote
    assert str(whole)[best.start : best.end] == best.quote
    assert "damaged" in str(output_of(result)["not_searched"])


async def test_a_search_can_be_held_to_one_file() -> None:
    output = output_of(await call({"action": "search", "query": "Monday refund", "file": "notes.md"}))

    assert output["searched"] == ["notes.md"]


async def test_a_search_that_finds_nothing_says_what_to_try() -> None:
    output = output_of(await call({"action": "search", "query": "zebra"}))

    assert output["passages"] == []
    assert "synonyms" in str(output["note"])


async def test_reading_goes_on_where_it_ended_until_nothing_is_left() -> None:
    text, start, tool = "", 0, documents()
    files = {"long.txt": "中文句子。" * 2_000 + "English words. " * 2_000}
    while True:
        output = output_of(await call({"action": "read", "file": "long.txt", "start": start, "max_chars": 20_000}, files, tool))
        text += str(output["text"])
        if "next_start" not in output:
            break
        start = int(str(output["next_start"]))

    assert text == str(files["long.txt"]).strip("\n")


async def test_reading_from_a_page_begins_there() -> None:
    output = output_of(await call({"action": "read", "file": "policy.pdf", "page": 2}))

    assert str(output["text"]).startswith("Refunds are paid")
    assert (output["page"], output["last_page"], output["pages"]) == (2, 3, 3)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"action": "read"}, "name the `file`"),
        ({"action": "read", "file": "../../etc/passwd"}, "there are: policy.pdf, notes.md, broken.docx"),
        ({"action": "read", "file": "broken.docx"}, "whole copy"),
        ({"action": "read", "file": "policy.pdf", "page": 9}, "has 3 pages"),
        ({"action": "read", "file": "notes.md", "start": 5_000}, "characters"),
        ({"action": "search"}, "needs `query`"),
        ({"action": "search", "query": "x", "file": "broken.docx"}, "whole copy"),
        ({"action": "shred"}, "invalid_arguments"),
    ],
)
async def test_a_wrong_call_is_told_what_to_do(arguments: dict[str, JsonValue], says: str) -> None:
    assert says in said(await call(arguments))


async def test_a_job_without_files_is_told_to_ask_for_them() -> None:
    assert "ask the user to attach" in said(await call({"action": "search", "query": "x"}, {}))
    assert "ask the user to attach" in said(await call({"action": "read", "file": "x"}, {}))


async def test_a_document_is_read_once_and_kept_for_its_tenant_alone() -> None:
    tool, shelf = documents(), CountingShelf(FILES)
    for tenant in ("acme", "acme", "other"):
        await tool.run({"action": "read", "file": "policy.pdf"}, ToolContext(TenantId(tenant), JobId(f"job_{tenant}"), "c1", shelf))

    assert shelf.reads == 2


class CountingShelf(MemoryShelf):
    reads = 0

    async def read(self, name: str) -> bytes:
        self.reads += 1
        return await super().read(name)


ARGUMENTS = st.dictionaries(
    st.sampled_from(["action", "file", "query", "count", "page", "start", "max_chars", "surprise"]),
    st.one_of(
        st.sampled_from(["list", "read", "search", *FILES]), st.integers(-2, 30_000), st.floats(), st.text(max_size=30), st.none(), st.just([])
    ),
)
FUZZED = documents()


@given(ARGUMENTS)
@settings(deadline=None, max_examples=60)
async def test_no_arguments_make_it_raise(arguments: dict[str, JsonValue]) -> None:
    result = await call(arguments, {"notes.md": "# Shipping\n\n周一发货。"}, FUZZED)

    assert result.ok is (result.error is None)


VECTORS = {"vehicle": [1.0, 0.0], "The automobile is red.": [0.9, 0.1], "The vehicle registry opens late.": [0.2, 0.8]}
LIBRARY = {"cars.txt": "The automobile is red.\n\n" + "Filler words fill this paragraph up. " * 40, "office.txt": "The vehicle registry opens late."}


@asynccontextmanager
async def embedding_server(status: int = 200, body: bytes | None = None) -> AsyncGenerator[tuple[Meaning, list[Sequence[str]]]]:
    """A server with OpenAI's embeddings on loopback, and what it was asked."""
    asked: list[Sequence[str]] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await Connection(reader, writer).read_request()
        assert request is not None
        assert (request.path, request.headers["authorization"]) == ("/v1/embeddings", "Bearer sesame")
        texts: list[str] = json.loads(request.body)["input"]
        asked.append(texts)
        data = [{"index": n, "embedding": VECTORS.get(text, [-1.0, 0.1])} for n, text in enumerate(texts)]
        content = body if body is not None else json.dumps({"data": data[::-1]}).encode()
        writer.write(b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n\r\n" % (status, len(content)) + content)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        yield Meaning(f"http://127.0.0.1:{port}/v1", ToolSettings(embeddings_key=SecretStr("sesame")), GuardedClient(EgressSettings())), asked


async def test_with_an_embeddings_server_meaning_counts_too_and_a_document_is_embedded_once() -> None:
    async with embedding_server() as (meaning, asked):
        tool = documents(meaning)
        first = output_of(await call({"action": "search", "query": "vehicle"}, LIBRARY, tool))
        second = output_of(await call({"action": "search", "query": "vehicle"}, LIBRARY, tool))

    assert first == second
    assert first["method"] == "words and meaning"
    assert {passage["file"] for passage in first["passages"][:2]} == {"cars.txt", "office.txt"}  # type: ignore[index,union-attr,call-overload]
    assert len(asked) == 4


@pytest.mark.parametrize(
    ("status", "body"),
    [(500, b""), (200, b"[]"), (200, b'{"data": []}'), (200, b'{"data": [{"index": 0, "embedding": [0, 0]}]}'), (302, b""), (200, b"\xff")],
)
async def test_without_vectors_the_search_goes_by_words_and_says_so(status: int, body: bytes) -> None:
    async with embedding_server(status, body) as (meaning, _):
        output = output_of(await call({"action": "search", "query": "vehicle"}, LIBRARY, documents(meaning)))

    assert output["method"] == "words"
    assert "by words only" in str(output["note"])
    assert "office.txt" in str(output["passages"])


async def test_a_server_that_is_gone_leaves_the_words() -> None:
    async with embedding_server() as (meaning, _):
        pass

    assert output_of(await call({"action": "search", "query": "vehicle"}, LIBRARY, documents(meaning)))["method"] == "words"
