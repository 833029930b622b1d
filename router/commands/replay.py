"""``tandem router replay``: what a policy would have done with logged traffic, through the gateway's doors."""

from pathlib import Path
from typing import Annotated

from typer import BadParameter, Option, Typer

from router.commands.lines import figure, percent, share
from router.commands.policies import read_policy
from tandem.cli.console import say, table
from tandem.cli.session import open_client
from tandem.schemas.policies import Replay, ReplayRequest
from tandem.settings import Settings


def build() -> Typer:
    """The command."""
    app = Typer(add_completion=False)
    app.command("replay")(replay)
    return app


def replay(
    version: Annotated[str | None, Option(help="A version; else the active policy.")] = None,
    file: Annotated[Path | None, Option(help="JSON of a policy that is not stored.")] = None,
    slow_share: Annotated[float | None, Option(min=0.001, max=0.999, help="Find the cut that sends this share slow, 0..1.")] = None,
    quality: Annotated[float | None, Option(min=0.001, max=1, help="Find the cut that keeps this part of the slow lane's gain, 0..1.")] = None,
    days: Annotated[float, Option(min=0.001, max=90, help="How far back.")] = 7,
    limit: Annotated[int, Option(min=1, max=100_000, help="Newest requests at most.")] = 10_000,
    out: Annotated[Path | None, Option(help="Write the policy, with its dials applied, for `policies draft`.")] = None,
) -> None:
    """Decide logged requests again: new slow share, flipped requests, projected wait and cost, quality where it is known."""
    if version is not None and file is not None:
        raise BadParameter("--version and --file exclude each other")
    if slow_share is not None and quality is not None:
        raise BadParameter("--slow-share and --quality exclude each other")
    request = ReplayRequest(
        version=version,
        policy=None if file is None else read_policy(file),
        target_slow_share=slow_share,
        target_quality=quality,
        since_s=days * 86_400,
        limit=limit,
    )
    with open_client(Settings.load()) as client:
        found = client.replay_policy(request)
    say("\n".join(table(_facts(found))))
    if found.examples:
        rows = [("FLIPPED", "P(SLOW)", "BEFORE", "AFTER", "LANGUAGE", "INTENT")]
        rows += [(each.decision_id, f"{each.p_slow:.3f}", each.before, each.after, each.language, each.intent or "") for each in found.examples]
        say("\n" + "\n".join(table(rows)))
    if out is not None:
        out.write_text(found.policy.model_dump_json(indent=2) + "\n", encoding="utf-8")


def _facts(found: Replay) -> list[tuple[str, str]]:
    bands = found.policy.bands
    return [
        ("requests", str(found.decisions)),
        ("fast below", percent(bands.check_at)),
        ("slow from", percent(bands.slow_at)),
        ("slow share before", share(found.slow_share_before)),
        ("slow share", share(found.slow_share)),
        ("checked", share(found.check_share)),
        *((f"slow share, {name}", share(estimate)) for name, estimate in (found.by_language | found.by_intent).items()),
        ("flipped", str(found.flips)),
        ("wait for a worker", figure(found.queue_wait_s, "s")),
        ("worker time", figure(found.slow_seconds, "s per hour")),
        ("quality", share(found.quality)),
        ("quality's basis", found.quality_basis),
    ]
