"""``tandem router explain``: how one message would be routed, and why, for people."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final, assert_never

from typer import Argument, BadParameter, Option, Typer

from router.commands.deciding import open_deciding
from router.policy import decide
from tandem.cli.console import say, table
from tandem.ports import Turns
from tandem.schemas.routing import Decision, Lane, OverrideSource, Signs

BAR_CHARS: Final = 40


def build() -> Typer:
    """The command."""
    app = Typer(add_completion=False)
    app.command("explain")(explain)
    return app


def explain(
    text: Annotated[str, Argument(help="The newest message of the user.")],
    history: Annotated[list[str] | None, Option(help="An earlier message of the user; repeat it, oldest first.")] = None,
    previous_lane: Annotated[str | None, Option(help="Lane of the answer before: fast or slow.")] = None,
    artifact: Annotated[Path | None, Option(help="Manifest of another scoring artefact.")] = None,
    policy: Annotated[Path | None, Option(help="JSON file of a routing policy; else that of the settings.")] = None,
    as_json: Annotated[bool, Option("--json", help="Print the Decision as JSON.")] = False,
) -> None:
    """Say how one message would be routed, and why. Nothing is started or logged."""
    deciding = open_deciding(artifact, policy)
    turns = Turns(text=text, history=history or (), previous_lane=_lane(previous_lane))
    decision = decide(turns, deciding.classifier, deciding.policy)
    say(decision.model_dump_json(indent=2) if as_json else "\n".join(explanation(decision)))


def explanation(decision: Decision) -> list[str]:
    """A decision in lines."""
    head = {"fast": "fast: answered at once", "check": "check: answered at once, then the answer is tested", "slow": "slow: becomes a job"}
    return [
        f"{head[decision.band]}  (effort {decision.effort}, language {decision.language}{f', {decision.intent}' if decision.intent else ''})",
        f"why: {why(decision)}",
        "",
        _scale(decision),
        *_probabilities(decision),
        "",
        "what speaks for the slow lane (+) and for the fast one (-), in log-odds:",
        *(
            f"  {line}"
            for line in table([(reason.feature.replace("_", " "), f"{reason.weight:+.2f}") for reason in decision.reasons] or [("nothing", "")])
        ),
        *_signs(decision.signs),
        "",
        f"policy {decision.policy_version}, model {decision.model_version} ({decision.backend}), {decision.latency_us:.0f} µs",
    ]


def why(decision: Decision) -> str:
    """One sentence: who decided, by what."""
    if decision.override is not None:
        return f"{_override(decision.override)} (the score alone says {_by_score(decision)})"
    side = {"fast": f"below {decision.check_at:g}", "check": f"between {decision.check_at:g} and {decision.threshold:g}"}
    return f"P(slow) {decision.p_slow:.3f} is {side.get(decision.band, f'at or above {decision.threshold:g}')}"


def _by_score(decision: Decision) -> str:
    if decision.p_slow >= decision.threshold:
        return "slow"
    return "check" if decision.p_slow >= decision.check_at else "fast"


def _override(source: OverrideSource) -> str:
    match source:
        case "model" | "lane" | "effort":
            return f"the caller's {source} says so"
        case "text":
            return "the words of the message say so"
        case "rule":
            return "a fixed rule of the policy says so"
        case "kill_switch":
            return "the kill switch is on"
        case "context":
            return "the conversation is too long for the fast model"
        case "sticky":
            return "it goes on with what went before, and stays in that lane"
        case "hysteresis":
            return "the score is too near the cut to change the conversation's lane"
        case "cap":
            return "the cap on the slow share is reached"
        case "explore":
            return "the lane was drawn, to learn"
        case _:
            assert_never(source)


def _scale(decision: Decision) -> str:
    """P(slow) on a line from 0 to 1 with both cuts."""
    cells = ["·"] * (BAR_CHARS + 1)
    for mark, value in (("|", decision.check_at), ("|", decision.threshold), ("#", decision.p_slow)):
        cells[round(value * BAR_CHARS)] = mark
    return f"P(slow) {decision.p_slow:.3f}  0 {''.join(cells)} 1   checked from {decision.check_at:g}, slow from {decision.threshold:g}"


def _probabilities(decision: Decision) -> list[str]:
    known = (
        ("P(the fast answer is not good enough)", decision.p_fast_fails),
        ("P(the slow one is good | the fast one is not)", decision.p_slow_fixes),
        ("P(tools are needed)", decision.p_tools),
    )
    return table([(name, f"{value:.3f}") for name, value in known if value is not None])


def _signs(signs: Signs) -> Sequence[str]:
    """What the conversation tells, where it tells anything."""
    said = [
        f"{signs.turns} messages before this one" if signs.turns else "",
        f"much like one of the two before ({signs.reask:.2f})" if signs.reask >= 0.5 else "",
        "says that the last answer was wrong or not enough" if signs.is_negative else "",
        "asks to go on" if signs.is_continuation else "",
        "a job of this conversation is running" if signs.has_running_job else "",
        f"the answer before was {signs.previous_lane}" if signs.previous_lane else "",
    ]
    lines = [f"  {line}" for line in said if line]
    return ["", "signs of the conversation:", *lines] if lines else []


def _lane(name: str | None) -> Lane | None:
    if name is None or name == "fast" or name == "slow":
        return name
    raise BadParameter(f"{name!r} is no lane; use fast or slow", param_hint="--previous-lane")
