"""``python -m bench.rig.noop_graph``: a real worker whose graph does nothing, so that what is measured is the job core."""

import sys

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import END, START, StateGraph

from slow_worker.context import JobContext
from slow_worker.graph import Engine
from slow_worker.worker import run_worker
from slow_worker.workspace import Update, Workspace
from tandem.schemas.jobs import JobResult
from tandem.settings import Settings


async def finish(state: Workspace) -> Update:  # noqa: ARG001 - a node has this signature
    return {"result": JobResult(output_text="done"), "failure": None}


def build(saver: BaseCheckpointSaver[str]) -> Engine:
    """One node that answers at once."""
    graph = StateGraph(Workspace, context_schema=JobContext)
    graph.add_node("finish", finish)
    graph.add_edge(START, "finish")
    graph.add_edge("finish", END)
    return graph.compile(checkpointer=saver)


if __name__ == "__main__":
    sys.exit(run_worker(Settings.load(), build))
