"""What the next wave may use, read from the job's context."""

from slow_worker.context import JobContext
from slow_worker.waves import Room


def room_of(context: JobContext) -> Room:
    """Slots, calls and tools that are free now."""
    return Room(
        job_id=context.tool_context.job_id,
        slots=context.slots,
        calls_left=context.ledger.calls_left(),
        has_python="python" in context.tools,
        seconds=context.ledger.spent.seconds,
    )
