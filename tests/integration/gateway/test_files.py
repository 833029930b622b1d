"""Uploads: with OpenAI's client, with bytes that no client would send, and between tenants."""

import asyncio
import hashlib
import time
from typing import Any

import openai
import pytest

from tandem.schemas.errors import ErrorBody

pytestmark = pytest.mark.integration
both_databases = pytest.mark.parametrize("database_url", ["sqlite", "postgres"], indirect=True)
EVERY_BYTE = bytes(range(256)) * 10
BOUNDARY = "xYzZy"


def part(name: str, content: bytes = b"a,b\n1,2\n", file_name: str | None = "a.csv", *headers: str) -> bytes:
    disposition = f'content-disposition: form-data; name="{name}"' + ("" if file_name is None else f'; filename="{file_name}"')
    return "\r\n".join([f"--{BOUNDARY}", disposition, *headers, "", ""]).encode() + content + b"\r\n"


def field(name: str, value: str) -> bytes:
    return part(name, value.encode(), None)


END = f"--{BOUNDARY}--\r\n".encode()
FORM = f"multipart/form-data; boundary={BOUNDARY}"


async def sent(house: Any, body: bytes, content_type: str = FORM, **headers: str) -> Any:
    async with house.http() as client:
        return await client.post("/v1/files", content=body, headers={"content-type": content_type} | headers)


async def uploaded(house: Any, name: str = "a.csv", content: bytes = b"a,b\n1,2\n", **fields: str) -> Any:
    async with house.http() as client:
        answer = await client.post("/v1/files", files={"file": (name, content)}, data=fields)
    assert answer.status_code == 200, answer.text
    return answer.json()


@both_databases
async def test_the_stock_client_uploads_lists_reads_and_deletes(house: Any) -> None:
    async with house.openai() as client:
        made = await client.files.create(file=('季度 "报告".bin', EVERY_BYTE), purpose="user_data")
        assert (made.object, made.filename, made.bytes, made.status, made.purpose) == ("file", '季度 "报告".bin', 2_560, "processed", "user_data")
        assert await client.files.retrieve(made.id) == made
        assert (await client.files.content(made.id)).content == EVERY_BYTE
        assert [file.id async for file in client.files.list()] == [made.id]
        deleted = await client.files.delete(made.id)
        assert (deleted.id, deleted.deleted, deleted.object) == (made.id, True, "file")
        with pytest.raises(openai.NotFoundError):
            await client.files.retrieve(made.id)


async def test_the_stock_client_sets_an_end_and_a_purpose(house: Any) -> None:
    async with house.openai() as client:
        made = await client.files.create(file=b"some text", purpose="assistants", expires_after={"anchor": "created_at", "seconds": 7_200})
        assert (made.filename, made.expires_at) == ("upload", made.created_at + 7_200)
        assert [file.id async for file in client.files.list(purpose="assistants")] == [made.id]
        assert [file.id async for file in client.files.list(purpose="user_data")] == []


async def test_the_stock_client_walks_pages_in_both_directions(house: Any) -> None:
    ids = [(await uploaded(house, f"{number}.txt"))["id"] for number in range(5)]
    async with house.openai() as client:
        assert [file.id async for file in client.files.list(limit=2)] == ids[::-1]
        assert [file.id async for file in client.files.list(limit=2, order="asc")] == ids


async def test_an_upload_tells_name_type_and_digest(house: Any) -> None:
    made = await uploaded(house, "../../etc/\u202egnp.csv", "城市,人口\n".encode("gb18030"))
    assert (made["filename"], made["media_type"]) == ("gnp.csv", "text/csv")
    assert made["sha256"] == hashlib.sha256("城市,人口\n".encode("gb18030")).hexdigest()


async def test_a_page_that_was_uploaded_is_not_run_on_our_address(house: Any) -> None:
    made = await uploaded(house, "x.html", b"<script>alert(1)</script>")
    async with house.http() as client:
        answer = await client.get(f"/v1/files/{made['id']}/content")
    assert answer.headers["content-disposition"] == "attachment; filename=\"x.html\"; filename*=UTF-8''x.html"
    assert (answer.headers["x-content-type-options"], answer.headers["content-security-policy"]) == ("nosniff", "sandbox; default-src 'none'")


@pytest.mark.parametrize(
    ("body", "content_type", "says", "param"),
    [
        (b'{"file": "x"}', "application/json", "multipart/form-data", None),
        (b"file=x", "application/x-www-form-urlencoded", "multipart/form-data", None),
        (part("file") + END, "multipart/form-data", "boundary", None),
        (part("file") + END, f"multipart/form-data; boundary={'x' * 71}", "boundary", None),
        (part("file") + END, "multipart/mixed; boundary=xYzZy", "multipart/form-data", None),
        (b"", FORM, "cut", None),
        (END, FORM, "no file", "file"),
        (field("purpose", "user_data") + END, FORM, "no file", "file"),
        (part("file", b"") + END, FORM, "'a.csv' is empty", "file"),
        (part("file") + part("file") + END, FORM, "two files", "file"),
        (part("files") + END, FORM, "'files' is not a part", "files"),
        (field("file", "text") + END, FORM, "no file name", "file"),
        (part("file") + field("surprise", "1") + END, FORM, "'surprise' is not a part", "surprise"),
        (field("purpose", "fine-tune") + part("file") + END, FORM, "'fine-tune' is not served", "purpose"),
        (field("purpose", "user_data") * 2 + part("file") + END, FORM, "comes twice", "purpose"),
        (field("purpose", "x" * 2_000) + part("file") + END, FORM, "1024 bytes", "purpose"),
        (field("expires_after[anchor]", "last_used_at") + part("file") + END, FORM, "created_at", "expires_after.anchor"),
        (field("expires_after[anchor]", "created_at") + part("file") + END, FORM, "whole number", "expires_after.seconds"),
        (field("expires_after[seconds]", "5") + part("file") + END, FORM, "from 3600", "expires_after.seconds"),
        (field("expires_after[seconds]", "-1e9") + part("file") + END, FORM, "from 3600", "expires_after.seconds"),
        (field("expires_after[seconds]", "٣٦٠٠") + part("file") + END, FORM, "from 3600", "expires_after.seconds"),
        (part("file"), FORM, "cut", None),
        (part("file")[:-20], FORM, "cut", None),
        (b"nonsense" + part("file") + END, FORM, "well-formed", None),
        (part("file", b"x", "a.csv", "x: " + "y" * 9_000) + END, FORM, "well-formed", None),
        (part("file", b"x", "a.csv", *[f"x{number}: y" for number in range(20)]) + END, FORM, "well-formed", None),
        (b"".join(field(f"f{number}", "x") for number in range(99)) + END, FORM, "not a part", "f0"),
        (b"--xYzZy\r\n\r\nx\r\n" + END, FORM, "'' is not a part", None),
    ],
)  # fmt: skip
async def test_a_bad_form_is_refused_in_the_one_shape_and_leaves_nothing(
    house: Any, body: bytes, content_type: str, says: str, param: str | None
) -> None:
    answer = await sent(house, body, content_type)
    error = ErrorBody.model_validate_json(answer.content).error
    assert (answer.status_code, error.code, error.param) == (400, "invalid_request", param), error.message
    assert says in error.message
    async with house.http() as client:
        assert (await client.get("/v1/files")).json()["data"] == []


async def test_a_file_that_is_too_large_is_refused_however_it_comes(open_house: Any) -> None:
    async with open_house(tools={"max_file_bytes": 100_000}) as house:
        whole = await sent(house, part("file", b"x" * 100_001) + END)

        async def drip() -> Any:
            yield part("file", b"")[:-2]
            for _ in range(400):
                yield b"x" * 1_000

        async with house.http() as client:
            chunked = await client.post("/v1/files", content=drip(), headers={"content-type": FORM})
            assert (await client.get("/v1/files")).json()["data"] == []
        exact = await sent(house, part("file", b"x" * 100_000) + END)
    for answer in (whole, chunked):
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "body_too_large"), answer.text
        assert "100000" in answer.json()["error"]["message"]
    assert (exact.status_code, exact.json()["bytes"]) == (200, 100_000)


async def connected(house: Any, *lines: str, body: bytes = b"") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(house.url.rsplit(":", 1)[1]))
    head = ["POST /v1/files HTTP/1.1", "host: x", f"authorization: Bearer {house.token}", f"content-type: {FORM}", *lines, "", ""]
    writer.write("\r\n".join(head).encode() + body)
    return reader, writer


async def test_ten_gigabytes_are_refused_before_they_come(house: Any) -> None:
    reader, writer = await connected(house, f"content-length: {10 * 2**30}")
    started = time.perf_counter()
    head = await reader.readuntil(b"\r\n\r\n")
    assert time.perf_counter() - started < 10
    assert head.startswith(b"HTTP/1.1 413 ")
    writer.close()


async def test_an_upload_whose_client_goes_leaves_nothing_and_harms_nobody(house: Any) -> None:
    body = part("file", b"x" * 50_000)
    for _ in range(40):  # more than are received at once
        _, writer = await connected(house, f"content-length: {len(body) + 1_000}", body=body)
        await writer.drain()
        writer.close()
    made = await uploaded(house)
    async with house.http() as client:
        assert [file["id"] for file in (await client.get("/v1/files")).json()["data"]] == [made["id"]]


async def test_a_tenants_files_have_a_limit_together(open_house: Any) -> None:
    async with open_house(tools={"max_files_bytes": 1_000}) as house:
        first = await uploaded(house, content=b"x" * 900)
        refused = await sent(house, part("file", b"x" * 101) + END)
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "too_many_requests")
        assert int(refused.headers["retry-after"]) > 0
        async with house.http() as client:
            await client.delete(f"/v1/files/{first['id']}")
        assert (await sent(house, part("file", b"x" * 101) + END)).status_code == 200


async def test_other_doors_keep_their_own_limit(house: Any) -> None:
    async with house.http() as client:
        assert (await client.post("/v1/jobs", content=b"x" * 2_000_000)).status_code == 413
        assert (await client.post("/v1/files/x", content=b"x" * 2_000_000)).status_code == 413


async def test_an_upload_sent_again_is_the_same_file(house: Any) -> None:
    key = {"idempotency-key": "k1"}
    first, again = [await sent(house, part("file") + END, **key) for _ in range(2)]
    assert (again.json(), again.headers["idempotent-replayed"]) == (first.json(), "true")
    assert "idempotent-replayed" not in first.headers
    for other in (part("file", b"other") + END, part("file", file_name="other.csv") + END):
        assert (await sent(house, other, **key)).json()["error"]["code"] == "idempotency_key_reused"


async def test_scopes_tell_who_may_read_and_who_may_write(house: Any) -> None:
    made = await uploaded(house)
    for scopes, reads, writes in ((["jobs:read"], 200, 403), (["chat"], 403, 403), (["jobs:write"], 403, 200)):
        async with house.http(await house.new_token("acme", scopes)) as client:
            assert {(await client.get(path)).status_code for path in ("/v1/files", f"/v1/files/{made['id']}/content")} == {reads}
            assert (await client.post("/v1/files", files={"file": ("b.txt", b"b")})).status_code == writes
            assert (await client.delete("/v1/files/file_00000000000000000000000000")).status_code == (404 if writes == 200 else 403)


async def test_a_job_or_a_schedule_cannot_name_a_file_that_is_not_there(house: Any) -> None:
    mine, missing = (await uploaded(house))["id"], "file_00000000000000000000000000"
    schedule = {"name": "n", "cron": "0 3 * * *"}
    async with house.http() as client:
        assert (await client.post("/v1/jobs", json={"input": "sum it", "files": [mine]})).status_code == 202
        refused = await client.post("/v1/jobs", json={"input": "sum it", "files": [mine, missing]})
        planned = await client.post("/v1/schedules", json=schedule | {"request": {"input": "sum it", "files": [missing]}})
    async with house.http(house.other_token) as theirs:
        stolen = await theirs.post("/v1/jobs", json={"input": "sum it", "files": [mine]})
    for answer, named, param in ((refused, missing, "files"), (planned, missing, "request.files"), (stolen, mine, "files")):
        error = answer.json()["error"]
        assert (answer.status_code, error["code"], error["param"]) == (404, "not_found", param), answer.text
        assert named in error["message"]


async def test_many_uploads_at_once_are_whole(house: Any) -> None:
    contents = [hashlib.sha256(bytes([number])).digest() * 60_000 for number in range(6)]
    made = await asyncio.gather(*(uploaded(house, f"{number}.bin", content) for number, content in enumerate(contents)))
    assert [file["sha256"] for file in made] == [hashlib.sha256(content).hexdigest() for content in contents]


async def test_lines_that_look_like_a_boundary_stay_in_the_file(house: Any) -> None:
    content = b"\r\n--xYzZ\r\n--xYz\r\n\r\n-" * 2_000
    answer = await sent(house, part("file", content) + END)
    assert answer.json()["sha256"] == hashlib.sha256(content).hexdigest()


async def test_the_stock_client_gives_a_response_files_to_compute_with(house: Any) -> None:
    async with house.openai() as client:
        made = await client.files.create(file=("sales.csv", b"a,b\n1,2\n"), purpose="user_data")

        async def ask(file_id: str) -> Any:
            tool = {"type": "code_interpreter", "container": {"type": "auto", "file_ids": [file_id]}}
            return await client.responses.create(model="slow", input="Sum column b.", background=True, tools=[tool])

        response = await ask(made.id)
        assert response.tools[0].container.file_ids == [made.id]
        job_id = await house.next_job()
        async with house.http() as http:
            assert (await http.get(f"/v1/jobs/{job_id}")).json()["request"]["files"] == [made.id]
        with pytest.raises(openai.NotFoundError, match="file_00000000000000000000000000"):
            await ask("file_00000000000000000000000000")
