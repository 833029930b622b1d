"""The platform's own client at the doors of files, memories, the audit log and tools."""

from collections.abc import AsyncGenerator
from typing import Any

import pytest

from tandem.client import AsyncTandemClient
from tandem.errors import InvalidRequest, NotFound
from tandem.ids import TenantId
from tandem.schemas.audit import AuditEntry
from tandem.testing.suites.tool_board import reported

pytestmark = pytest.mark.integration
EVERY_BYTE = bytes(range(256)) + b"\r\n--"


@pytest.fixture
async def client(house: Any) -> AsyncGenerator[AsyncTandemClient]:
    async with AsyncTandemClient(house.url, house.token) as client:
        yield client


async def test_a_file_goes_there_and_back(client: AsyncTandemClient) -> None:
    made = await client.upload_file('季度 "报告".bin', EVERY_BYTE, purpose="assistants", expires_after_s=7_200, idempotency_key="k")
    assert (made.filename, made.bytes, made.purpose, made.expires_at) == ('季度 "报告".bin', 260, "assistants", made.created_at + 7_200)
    assert await client.upload_file('季度 "报告".bin', EVERY_BYTE, purpose="assistants", expires_after_s=7_200, idempotency_key="k") == made
    assert (await client.list_files(purpose="assistants")).data == [await client.get_file(made.id)]
    assert await client.read_file(made.id) == EVERY_BYTE
    assert (await client.delete_file(made.id)).deleted
    with pytest.raises(NotFound):
        await client.read_file(made.id)


async def test_an_empty_file_is_an_error_that_names_it(client: AsyncTandemClient) -> None:
    with pytest.raises(InvalidRequest, match=r"'empty\.txt' is empty"):
        await client.upload_file("empty.txt", b"")


async def test_a_memory_is_made_read_and_deleted(client: AsyncTandemClient) -> None:
    made = await client.create_memory("客户住在柏林")
    assert (await client.list_memories()).data == [await client.get_memory(made.id)] == [made]
    await client.delete_memory(made.id)
    assert (await client.list_memories()).data == []


async def test_the_audit_log_is_read_and_checked(house: Any, client: AsyncTandemClient) -> None:
    record = await house.storage.audit.append(TenantId("acme"), AuditEntry(kind="tool_call", tool="sql"))
    assert (await client.read_audit()).data == [record]
    assert (await client.read_audit(after=1)).data == []
    assert (await client.verify_audit(record.hash)).is_intact


async def test_a_tool_that_a_worker_reports_is_listed(house: Any, client: AsyncTandemClient) -> None:
    await house.storage.tools.report("host-1", [reported("word_count")])
    (tool,) = [tool for tool in (await client.list_tools()).data if tool.workers]
    assert (tool.name, tool.state, await client.get_tool("word_count")) == ("word_count", "offered", tool)
    with pytest.raises(NotFound):
        await client.get_tool("no_such_tool")
