"""``/v1/memory``: facts that jobs remember for their tenant, each with where it came from; here people read, add and delete them."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from gateway.routes.common import MayReadJobs, MayWriteJobs, UseServices, known_id
from tandem.ids import MemoryId
from tandem.schemas.memories import Memory, MemoryCreate, MemoryPage, Provenance

doors = APIRouter(prefix="/v1/memory", tags=["memory"])


async def _known_memory(memory_id: str) -> MemoryId:
    return MemoryId(known_id(memory_id, "mem", "memory"))


KnownMemory = Annotated[MemoryId, Depends(_known_memory)]


@doors.get("")
async def list_memories(
    services: UseServices, caller: MayReadJobs, after: str | None = None, limit: Annotated[int, Query(ge=1, le=100)] = 20
) -> MemoryPage:
    """What is remembered for this tenant, newest first."""
    cursor = None if after is None else MemoryId(known_id(after, "mem", "memory", "after"))
    found = await services.dependencies.storage.memories.list(caller.tenant, after=cursor, limit=limit + 1)
    memories = list(found)[:limit]
    return MemoryPage(data=memories, next_after=memories[-1].id if len(found) > limit else None)


@doors.post("", status_code=201)
async def create_memory(request: MemoryCreate, services: UseServices, caller: MayWriteJobs, response: Response) -> Memory:
    """Remember a fact for this tenant's jobs. The same words are kept once, so sending them again returns the memory there is."""
    needs = services.dependencies
    said = Provenance(key_id=caller.key_id, origin="caller")
    limit = services.settings.tools.max_memories
    memory = await needs.storage.memories.add(needs.ids.memory(), caller.tenant, request.text, said, max_memories=limit)
    response.headers["location"] = f"/v1/memory/{memory.id}"
    return memory


@doors.get("/{memory_id}")
async def read_memory(memory_id: KnownMemory, services: UseServices, caller: MayReadJobs) -> Memory:
    """One memory."""
    return await services.dependencies.storage.memories.get(memory_id, caller.tenant)


@doors.delete("/{memory_id}", status_code=204)
async def delete_memory(memory_id: KnownMemory, services: UseServices, caller: MayWriteJobs) -> None:
    """Forget it; jobs that have read it keep what they made of it."""
    await services.dependencies.storage.memories.delete(memory_id, caller.tenant)
