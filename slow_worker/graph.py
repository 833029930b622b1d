"""The graph of System 2: intake -> plan -> [review] -> waves of attempts -> verify -> (another wave or) synthesize.

A task that needs tools is worked out by turns instead: intake -> plan -> [review] -> act -> (another act or) synthesize.
Nodes hold no services: a job's come with the run, as its context. Edges only read ``orders``, which ``plan``, ``review`` and ``verify`` write,
``conclusion``, which ``act`` writes, and whether the request wants its plan reviewed.
"""

from collections.abc import Callable

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import Runtime
from langgraph.types import Send

from slow_worker.context import JobContext
from slow_worker.nodes.act import act
from slow_worker.nodes.intake import intake
from slow_worker.nodes.plan import plan
from slow_worker.nodes.review import review
from slow_worker.nodes.solve import solve
from slow_worker.nodes.synthesize import synthesize
from slow_worker.nodes.verify import verify
from slow_worker.workspace import Sent, Workspace

Engine = CompiledStateGraph[Workspace, JobContext, Workspace, Workspace]
GraphBuilder = Callable[[BaseCheckpointSaver[str]], Engine]
"""Makes the graph that a worker runs; its nodes get a ``JobContext``."""

RECURSION_LIMIT = 500
"""Supersteps of one job: far above what any budget allows, so that the ledger always stops first."""


def build_graph(checkpointer: BaseCheckpointSaver[str]) -> Engine:
    """The compiled graph; one serves all jobs of a process."""
    graph = StateGraph(Workspace, context_schema=JobContext)
    graph.add_node("intake", intake)
    graph.add_node("plan", plan)
    graph.add_node("review", review)
    graph.add_node("solve", solve, input_schema=Sent)
    graph.add_node("verify", verify)
    graph.add_node("act", act)
    graph.add_node("synthesize", synthesize)

    graph.add_edge(START, "intake")
    graph.add_edge("intake", "plan")
    graph.add_conditional_edges("plan", begin, ["review", "act", "solve", "synthesize"])
    graph.add_conditional_edges("review", dispatch, ["act", "solve", "synthesize"])
    graph.add_conditional_edges("act", dispatch, ["act", "synthesize"])
    graph.add_edge("solve", "verify")
    graph.add_conditional_edges("verify", dispatch, ["solve", "synthesize"])
    graph.add_edge("synthesize", END)
    return graph.compile(checkpointer=checkpointer)


def begin(state: Workspace, runtime: Runtime[JobContext]) -> list[Send] | str:
    """The review, where the request asks for one; else the first wave."""
    return "review" if runtime.context.request.review_plan else dispatch(state)


def dispatch(state: Workspace) -> list[Send] | str:
    """One parallel ``solve`` per order, or the next turn with tools; when there is none, the writing."""
    if state["task"].uses_tools:
        return "act" if state.get("conclusion") is None else "synthesize"
    orders = state.get("orders", [])
    return [Send("solve", Sent(order=order, task=state["task"], plan=state["plan"])) for order in orders] or "synthesize"
