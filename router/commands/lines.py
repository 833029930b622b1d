"""How the commands print what the doors of the routing answer. Pure."""

from datetime import datetime

from tandem.schemas.policies import Estimate, RoutingState


def moment(at: datetime) -> str:
    """In UTC, to the minute."""
    return f"{at:%Y-%m-%d %H:%M}"


def percent(value: float) -> str:
    """A share of 1, without an interval."""
    return f"{value:.1%}"


def share(estimate: Estimate) -> str:
    """A share with its interval, or that it is unknown."""
    if estimate.value is None:
        return "unknown"
    interval = f" ({estimate.low:.1%} to {estimate.high:.1%})" if estimate.low is not None and estimate.high is not None else ""
    return f"{estimate.value:.1%}{interval}"


def figure(estimate: Estimate, unit: str) -> str:
    """A quantity with its interval, or that it is unknown."""
    if estimate.value is None:
        return "unknown"
    interval = f" ({estimate.low:.1f} to {estimate.high:.1f})" if estimate.low is not None and estimate.high is not None else ""
    return f"{estimate.value:.1f} {unit}{interval}"


def state_lines(state: RoutingState) -> list[str]:
    """Who decides."""
    lines = [f"revision {state.revision}: {state.active or 'settings'} decides"]
    if state.candidate is not None:
        by_itself = f", moves on by itself after {state.candidate.stage_s:g} s" if state.candidate.stage_s else ""
        lines.append(f"candidate {state.candidate.version} at {state.candidate.percent} % since {moment(state.candidate.since)}{by_itself}")
    if state.shadow is not None:
        lines.append(f"shadow {state.shadow}")
    if state.kill is not None:
        lines.append(f"KILL SWITCH: {state.kill}")
    return lines
