"""Files of jobs: listed, and handed out so that no browser runs them."""

from typing import Any

import pytest

from gateway.routes.artifacts import disposition
from tandem.ports import NewArtifact

pytestmark = pytest.mark.integration
both_databases = pytest.mark.parametrize("database_url", ["sqlite", "postgres"], indirect=True)


async def keep(house: Any, *files: tuple[str, str, bytes]) -> str:
    """A job that has made these files; its path."""
    async with house.http() as client:
        await client.post("/v1/jobs", json={"input": "make files"})
    claim = await house.claim(await house.next_job())
    for name, media_type, content in files:
        _, appended = await house.storage.work.add_artifact(
            claim.job_id, claim.epoch, NewArtifact(house.dependencies.ids.artifact(), name, media_type, content)
        )
        await house.dependencies.notifier.notify(appended)
    return f"/v1/jobs/{claim.job_id}/artifacts"


@both_databases
async def test_a_file_is_listed_and_read_byte_for_byte(house: Any) -> None:
    content = bytes(range(256))
    path = await keep(house, ("plan.csv", "text/csv", b"a,b"), ("报告.bin", "application/octet-stream", content))
    async with house.http() as client:
        listed = (await client.get(path)).json()["data"]
        answer = await client.get(f"{path}/{listed[1]['id']}")
    assert [(artifact["name"], artifact["size"]) for artifact in listed] == [("plan.csv", 3), ("报告.bin", 256)]
    assert answer.content == content
    assert answer.headers["content-disposition"] == "attachment; filename=\"__.bin\"; filename*=UTF-8''%E6%8A%A5%E5%91%8A.bin"


async def test_a_page_that_a_job_wrote_is_not_run_on_our_address(house: Any) -> None:
    path = await keep(house, ("x.html", "text/html", b"<script>alert(1)</script>"), ("y", 'text/html"\r\nset-cookie: a=b', b"z"))
    async with house.http() as client:
        page, forged = [await client.get(f"{path}/{artifact['id']}") for artifact in (await client.get(path)).json()["data"]]
    assert page.headers["content-disposition"].startswith("attachment;")
    assert page.headers["x-content-type-options"] == "nosniff"
    assert page.headers["content-security-policy"].startswith("sandbox")
    assert (forged.headers["content-type"], "set-cookie" in forged.headers) == ("application/octet-stream", False)


async def test_a_file_that_is_not_there_is_not_found(house: Any) -> None:
    path = await keep(house)
    async with house.http() as client:
        for name in ("nonsense", "art_00000000000000000000000000"):
            assert (await client.get(f"{path}/{name}")).status_code == 404


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a.txt", "attachment; filename=\"a.txt\"; filename*=UTF-8''a.txt"),
        ("../../etc/passwd", "attachment; filename=\"passwd\"; filename*=UTF-8''passwd"),
        ("c:\\x\\y.txt", "attachment; filename=\"y.txt\"; filename*=UTF-8''y.txt"),
        ('a"; filename="b', "attachment; filename=\"a__ filename=_b\"; filename*=UTF-8''a%22%3B%20filename%3D%22b"),
        ("a\r\nset-cookie: x", "attachment; filename=\"a__set-cookie: x\"; filename*=UTF-8''a%0D%0Aset-cookie%3A%20x"),
        ("...", "attachment; filename=\"artifact\"; filename*=UTF-8''artifact"),
    ],
)
def test_no_name_breaks_out_of_its_header(name: str, shown: str) -> None:
    assert disposition(name) == shown
