"""Files that callers upload: a row each, bytes included. The promises are those of ``FileStore``.

A file whose time is over is gone at once for every reader; the sweep (``retention.py``) frees its bytes later. Knows nothing of what a file means.
"""

import asyncio
import hashlib
from collections.abc import Sequence
from typing import Final

from sqlalchemy import ColumnElement, Select, delete, func, insert, null, select, tuple_
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from tandem.errors import NotFound, TooManyRequests
from tandem.ids import FileId, TenantId
from tandem.ports import NewFile, Once
from tandem.schemas.files import FileObject, FilePurpose
from tandem.storage.engine import Database
from tandem.storage.idempotency import find_earlier, remember
from tandem.storage.tables import files
from tandem.storage.times import db_now

_QUOTA_RETRY_S: Final = 60.0
_DESCRIPTION: Final = tuple(column for column in files.c if column.name not in {"tenant", "content"})
"""All but the bytes."""


class SqlFileStore:
    """Implements ``FileStore``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, new: NewFile, *, max_total_bytes: int, once: Once | None = None) -> tuple[FileObject, bool]:
        digest = await asyncio.to_thread(lambda: hashlib.sha256(new.content).hexdigest())
        statement = insert(files).values(
            id=new.id,
            tenant=new.tenant,
            name=new.name,
            media_type=new.media_type,
            purpose=new.purpose,
            size=len(new.content),
            sha256=digest,
            content=new.content,
            created_at=db_now(),
            expires_at=null() if new.expires_after_s is None else db_now() + new.expires_after_s,
        )

        async def work(connection: AsyncConnection) -> tuple[FileObject, bool]:
            await self._database.lock(connection, f"files:{new.tenant}")
            earlier = await find_earlier(self._database, connection, new.tenant, once)
            if earlier is not None:
                row = (await connection.execute(_described(new.tenant).where(files.c.id == earlier))).mappings().one_or_none()
                if row is None:
                    raise NotFound(f"file {earlier!r}, which this Idempotency-Key made, is gone; use a fresh key", param="Idempotency-Key")
                return _file_from(row), True
            await _check_quota(connection, new, max_total_bytes)
            await remember(connection, new.tenant, once, new.id)
            return _file_from((await connection.execute(statement.returning(*_DESCRIPTION))).mappings().one()), False

        return await self._database.write(work)

    async def get(self, file_id: FileId, tenant: TenantId) -> FileObject:
        row = await self._database.row(_described(tenant).where(files.c.id == file_id))
        if row is None:
            raise _unknown(file_id)
        return _file_from(row)

    async def content(self, file_id: FileId, tenant: TenantId) -> tuple[FileObject, bytes]:
        row = await self._database.row(_described(tenant).add_columns(files.c.content).where(files.c.id == file_id))
        if row is None:
            raise _unknown(file_id)
        return _file_from(row), bytes(row["content"])

    async def find(self, file_ids: Sequence[FileId], tenant: TenantId) -> Sequence[FileObject]:
        async def work(connection: AsyncConnection) -> Sequence[FileObject]:
            return await find_files(connection, file_ids, tenant)

        return await self._database.read(work)

    async def list(
        self, tenant: TenantId, *, purpose: FilePurpose | None, after: FileId | None, limit: int, is_oldest_first: bool = False
    ) -> Sequence[FileObject]:
        ways = [column.asc() if is_oldest_first else column.desc() for column in (files.c.created_at, files.c.id)]
        statement = _described(tenant).order_by(*ways).limit(limit)
        if purpose is not None:
            statement = statement.where(files.c.purpose == purpose)
        if after is not None:
            cursor = await self._database.row(_described(tenant).where(files.c.id == after))
            if cursor is None:
                raise NotFound(f"no file {after!r} to list after; take `last_id` of the page before", param="after")
            place = tuple_(files.c.created_at, files.c.id)
            at = (cursor["created_at"], after)
            statement = statement.where(place > at if is_oldest_first else place < at)
        return [_file_from(row) for row in await self._database.rows(statement)]

    async def delete(self, file_id: FileId, tenant: TenantId) -> None:
        statement = delete(files).where(files.c.id == file_id, _is_kept(tenant)).returning(files.c.id)

        async def work(connection: AsyncConnection) -> str | None:
            return (await connection.execute(statement)).scalar_one_or_none()

        if await self._database.write(work) is None:
            raise _unknown(file_id)


async def find_files(connection: AsyncConnection, file_ids: Sequence[FileId], tenant: TenantId) -> Sequence[FileObject]:
    """See ``FileStore.find``; also for a transaction that refers to files."""
    if not file_ids:
        return ()
    rows = (await connection.execute(_described(tenant).where(files.c.id.in_(set(file_ids))))).mappings().all()
    found = {row["id"]: _file_from(row) for row in rows}
    for file_id in file_ids:
        if file_id not in found:
            raise _unknown(file_id)
    return [found[file_id] for file_id in file_ids]


def _unknown(file_id: str) -> NotFound:
    return NotFound(
        f"no file {file_id!r}; `GET /v1/files` lists those there are: it may have expired or been deleted, or belong to another tenant",
        param="file_id",
    )


async def _check_quota(connection: AsyncConnection, new: NewFile, max_total_bytes: int) -> None:
    total = (await connection.execute(select(func.coalesce(func.sum(files.c.size), 0)).where(_is_kept(new.tenant)))).scalar_one()
    if total + len(new.content) > max_total_bytes:
        raise TooManyRequests(
            f"{new.name!r} has {len(new.content)} bytes and the files there are {total}; together they may have {max_total_bytes}: delete some, "
            "or upload with 'expires_after'",
            retry_after_s=_QUOTA_RETRY_S,
        )


def _described(tenant: TenantId) -> Select[tuple[object, ...]]:
    return select(*_DESCRIPTION).where(_is_kept(tenant))


def _is_kept(tenant: TenantId) -> ColumnElement[bool]:
    """The tenant's, and its time is not over."""
    return (files.c.tenant == tenant) & (files.c.expires_at.is_(None) | (files.c.expires_at > db_now()))


def _file_from(row: RowMapping) -> FileObject:
    return FileObject(
        id=row["id"],
        bytes=row["size"],
        created_at=int(row["created_at"]),
        expires_at=None if row["expires_at"] is None else int(row["expires_at"]),
        filename=row["name"],
        purpose=row["purpose"],
        media_type=row["media_type"],
        sha256=row["sha256"],
    )
