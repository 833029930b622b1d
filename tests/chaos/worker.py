"""Tandem's worker around a graph that obeys an ``Order``: plan, three parallel branches, verify, final; each step touches the outside once.

``CHAOS_WORLD`` names the folder of the outside. The checkpoints go through Tandem's own saver; where the test has armed a point, this process kills
itself there.
"""

import asyncio
import operator
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Annotated, Any, TypedDict, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver, ChannelVersions, Checkpoint, CheckpointMetadata, CheckpointTuple
from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime
from langgraph.types import Send
from pydantic import JsonValue

from slow_worker.asking import ask
from slow_worker.caller import Ask
from slow_worker.context import JobContext
from slow_worker.graph import Engine
from slow_worker.stops import BudgetStop
from slow_worker.worker import run_worker
from tandem.schemas.chat import ChatMessage
from tandem.schemas.inputs import InputAsk
from tandem.schemas.jobs import JobFailure, JobResult
from tandem.settings import Settings
from tandem.testing.chaos.world import Order, World

WRITES_DELAY_S = 0.08
"""How slow the writes of a step are while its checkpoint is being put (langchain-ai/langgraph#8039)."""
MEGABYTE = 1_048_576


class State(TypedDict, total=False):
    """What the graph keeps."""

    done: Annotated[list[str], operator.add]
    oddity: object
    result: JobResult
    failure: JobFailure | None


class Sent(TypedDict):
    """What a branch is sent."""

    index: int


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Steps:
    """The nodes."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def plan(self, state: State, runtime: Runtime[JobContext]) -> State:
        return await self._step("plan", runtime.context)

    async def branch(self, state: Sent, runtime: Runtime[JobContext]) -> State:
        return await self._step(f"branch:{state['index']}", runtime.context)

    async def verify(self, state: State, runtime: Runtime[JobContext]) -> State:
        context = runtime.context
        order = order_of(context)
        if order.do == "ask":
            ask(InputAsk(key="go", kind="text", prompt="May I go on?", default=order.default))
        written = await self._step("verify", context)
        if order.do == "unpicklable":
            return {**written, "oddity": threading.Lock()}
        await misbehave(order, context)
        return written

    async def final(self, state: State, runtime: Runtime[JobContext]) -> State:
        await self._step("final", runtime.context)
        text = ",".join(sorted(state.get("done", [])))
        await runtime.context.progress.text_done(text)
        return {"done": ["final"], "result": JobResult(output_text=text), "failure": None}

    async def _step(self, name: str, context: JobContext) -> State:
        job_id, epoch = context.effects.job_id, context.effects.epoch

        async def effect() -> JsonValue:
            await asyncio.sleep(order_of(context).step_s)
            return self._world.call(job_id, name, epoch)

        if order_of(context).do == "act" and name == "verify":
            await context.effects.act(name, effect)
        else:
            await context.effects.once(name, effect)
        return {"done": [name]}


async def misbehave(order: Order, context: JobContext) -> None:
    """What the order wants of ``verify`` beside its effect."""
    match order.do:
        case "exit":
            os._exit(3)
        case "segv":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "loop":
            while True:
                pass
        case "hang":
            await asyncio.sleep(3_600)
        case "memory":
            eat()
        case "model":
            await context.caller.complete(Ask([ChatMessage(role="user", content=order.prompt)], max_tokens=64))
        case "budget" if context.request.budget.max_calls is None:
            raise BudgetStop(JobFailure(code="budget_reached", message="the order says so"), JobResult(output_text="the best so far"))
        case _:
            return


def eat() -> None:
    eaten: list[bytearray] = []
    while True:
        eaten.append(bytearray(64 * MEGABYTE))


class DeadlySaver(BaseCheckpointSaver[str]):
    """Tandem's saver; kills its process at a point that is armed."""

    def __init__(self, inner: BaseCheckpointSaver[str], world: World) -> None:
        super().__init__(serde=inner.serde)
        self._inner = inner
        self._world = world

    @property
    def config_specs(self) -> list[Any]:
        return cast("list[Any]", self._inner.config_specs)

    def get_next_version(self, current: str | None, channel: None) -> str:
        return self._inner.get_next_version(current, channel)

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        return await self._inner.aget_tuple(config)

    def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002 - LangGraph's name
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        return self._inner.alist(config, filter=filter, before=before, limit=limit)

    async def aput(
        self, config: RunnableConfig, checkpoint: Checkpoint, metadata: CheckpointMetadata, new_versions: ChannelVersions
    ) -> RunnableConfig:
        values = cast("dict[str, list[str]]", checkpoint["channel_values"])
        done = len(values.get("done", []))
        if self._world.fires("before_first_put"):
            die()
        if done >= 4 and self._world.fires("in_put"):
            # The writes of the branches are still on their way when this checkpoint is cut off.
            await asyncio.sleep(WRITES_DELAY_S / 2)
            die()
        stored = await self._inner.aput(config, checkpoint, metadata, new_versions)
        if "result" in values and self._world.fires("before_finish"):
            die()
        return stored

    async def aput_writes(self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = "") -> None:
        if self._world.is_armed("in_put"):
            await asyncio.sleep(WRITES_DELAY_S)
        await self._inner.aput_writes(config, writes, task_id, task_path)

    async def adelete_thread(self, thread_id: str) -> None:
        await self._inner.adelete_thread(thread_id)


def order_of(context: JobContext) -> Order:
    text = context.request.input
    return Order.model_validate_json(text if isinstance(text, str) else "{}")


def fan_out(state: State) -> list[Send]:
    return [Send("branch", Sent(index=index)) for index in range(3)]


def build(saver: BaseCheckpointSaver[str]) -> Engine:
    """The graph over ``saver``."""
    world = World(Path(os.environ["CHAOS_WORLD"]))
    steps = Steps(world)
    graph = StateGraph(State, context_schema=JobContext)
    graph.add_node("plan", steps.plan)
    graph.add_node("branch", steps.branch, input_schema=Sent)
    graph.add_node("verify", steps.verify)
    graph.add_node("final", steps.final)
    graph.add_edge(START, "plan")
    graph.add_conditional_edges("plan", fan_out, ["branch"])
    graph.add_edge("branch", "verify")
    graph.add_edge("verify", "final")
    graph.add_edge("final", END)
    return graph.compile(checkpointer=DeadlySaver(saver, world))  # type: ignore[return-value]


if __name__ == "__main__":
    sys.exit(run_worker(Settings.load(), build))
