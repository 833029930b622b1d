"""``tandem router policies``: draft, look at, publish and withdraw routing policies, through the gateway's doors."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import ValidationError
from typer import Argument, BadParameter, Option, Typer

from router.commands.lines import moment, percent, state_lines
from tandem.cli.console import note, say, table
from tandem.cli.session import open_client
from tandem.errors import InvalidRequest
from tandem.schemas.policies import Guardrails, PolicyDraft, PolicyVersion, Publish, RollBack, RoutingChange, RoutingPolicy, Validation
from tandem.settings import Settings

Revision = Annotated[int | None, Option("--revision", help="Refuse when the routing has changed since this revision.")]
Version = Annotated[str, Argument(help="Id from `tandem router policies list`, or `settings`.")]


def build() -> Typer:
    """The command."""
    app = Typer(add_completion=False, help="Draft, look at, publish and withdraw routing policies.", no_args_is_help=True)
    for name, command in {
        "list": list_policies,
        "show": show,
        "draft": draft,
        "publish": publish,
        "advance": advance,
        "rollback": roll_back,
        "diff": diff,
        "history": history,
        "kill": kill,
        "unkill": unkill,
    }.items():
        app.command(name)(command)
    return app


def list_policies(limit: Annotated[int, Option(min=1, max=100, help="Longest list.")] = 20) -> None:
    """List versions, newest first, and say who decides."""
    with open_client(Settings.load()) as client:
        state, page = client.routing_state(), client.list_policies(limit=limit)
    rows = [("VERSION", "NUMBER", "STATUS", "CREATED", "NOTE")]
    rows += [(each.version, str(each.number), each.status, moment(each.created_at), each.note) for each in page.data]
    say("\n".join([*table(rows), "", *state_lines(state)]))


def show(
    version: Version,
    is_json: Annotated[bool, Option("--json", help="Only the policy, as `draft` reads it.")] = False,
) -> None:
    """Show one version, and what logged traffic says against it."""
    with open_client(Settings.load()) as client:
        found = client.get_policy(version)
        if is_json:
            say(found.policy.model_dump_json(indent=2))
            return
        _show(found, client.validate_policy(version))


def draft(
    file: Annotated[Path, Argument(help="JSON of a policy; fields that are left out have their defaults.")],
    words: Annotated[str, Option("--note", help="What it is for.")] = "",
) -> None:
    """Keep a policy as a draft; nothing decides by it before it is published."""
    made = PolicyDraft(policy=read_policy(file), note=words)
    with open_client(Settings.load()) as client:
        version = client.draft_policy(made)
        _show(version, client.validate_policy(version.version))


def publish(
    version: Version,
    share: Annotated[int, Option("--percent", help="Of the conversations: 5, 25 or 100.")] = 100,
    stage_s: Annotated[float | None, Option(help="Seconds after which an unobjectionable stage moves on by itself.")] = None,
    min_decisions: Annotated[int, Option(min=1, help="Decisions of the candidate before anything is judged.")] = Guardrails().min_decisions,
    force: Annotated[bool, Option("--force", help="Publish although logged traffic speaks against it.")] = False,
    revision: Revision = None,
) -> None:
    """Let a version decide: for everybody, or for a share of the conversations, watched by guardrails."""
    if share not in (5, 25, 100):
        raise BadParameter(f"--percent {share}: a stage is 5, 25 or 100")
    stage: Literal[5, 25, 100] = 5 if share == 5 else 25 if share == 25 else 100
    wish = Publish(
        percent=stage,
        stage_s=stage_s,
        guardrails=Guardrails(min_decisions=min_decisions),
        is_forced=force,
        expected_revision=revision,
    )
    with open_client(Settings.load()) as client:
        say("\n".join(state_lines(client.publish_policy(version, wish))))


def advance(revision: Revision = None) -> None:
    """Move the candidate to its next stage now."""
    with open_client(Settings.load()) as client:
        say("\n".join(state_lines(client.advance_rollout(revision))))


def roll_back(
    to: Annotated[str | None, Option(help="A version that was published, or `settings`.")] = None,
    words: Annotated[str, Option("--note", help="Why.")] = "",
    revision: Revision = None,
) -> None:
    """Drop the candidate; without one go back to the policy before."""
    with open_client(Settings.load()) as client:
        say("\n".join(state_lines(client.roll_back_policy(RollBack(to=to, note=words, expected_revision=revision)))))


def diff(version: Version, against: Annotated[str | None, Option(help="Another version; else its parent.")] = None) -> None:
    """Say what a version changes."""
    with open_client(Settings.load()) as client:
        found = client.diff_policies(version, against)
    if not found.data:
        say(f"nothing differs from {found.against}")
        return
    rows = [("FIELD", found.against, version)]
    say("\n".join(table([*rows, *((each.field, each.before, each.after) for each in found.data)])))


def history(limit: Annotated[int, Option(min=1, max=200, help="Longest list.")] = 20) -> None:
    """List drafts and changes with their reasons, newest first."""
    with open_client(Settings.load()) as client:
        page = client.routing_history(limit=limit)
    rows = [("REVISION", "AT", "ACTION", "VERSION", "BY", "WHY")]
    rows += [(str(each.revision), moment(each.at), each.action, each.version or "settings", each.actor, _why(each)) for each in page.data]
    say("\n".join(table(rows)))


def kill(
    mode: Annotated[str, Option(help="all_fast: everybody fast; rules: the active policy's fixed rules alone.")] = "all_fast",
    words: Annotated[str, Option("--note", help="Why.")] = "",
) -> None:
    """Throw the kill switch in every gateway; what callers choose themselves still holds."""
    if mode not in ("all_fast", "rules"):
        raise BadParameter(f"--mode {mode!r}: use all_fast or rules")
    with open_client(Settings.load()) as client:
        say("\n".join(state_lines(client.throw_kill_switch("rules" if mode == "rules" else "all_fast", words))))


def unkill() -> None:
    """Release the kill switch; the policies decide again."""
    with open_client(Settings.load()) as client:
        say("\n".join(state_lines(client.release_kill_switch())))


def read_policy(file: Path) -> RoutingPolicy:
    """The policy of a file. Raises ``InvalidRequest`` naming file, field and value."""
    try:
        return RoutingPolicy.model_validate_json(file.read_bytes())
    except OSError as error:
        raise InvalidRequest(f"the policy {str(file)!r} cannot be read: {error.strerror}") from None
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in fault["loc"]) or "the file"
        remedy = "`tandem router policies show settings --json` shows one"
        raise InvalidRequest(f"{str(file)!r} is no routing policy: {place}: {fault['msg']}; {remedy}") from None


def _show(found: PolicyVersion, validation: Validation) -> None:
    bands = found.policy.bands
    facts = [
        ("version", found.version),
        ("status", found.status),
        ("note", found.note),
        ("author", found.author),
        ("created", moment(found.created_at)),
        ("fast below", percent(bands.check_at)),
        ("slow from", percent(bands.slow_at)),
        ("mode", found.policy.mode),
        ("backend", found.policy.backend),
        ("classes", str(len(found.policy.classes))),
        ("rules", str(len(found.policy.rules))),
        ("judged on", f"{validation.judged_on} logged requests"),
    ]
    say("\n".join(table([(name, value) for name, value in facts if value])))
    for problem in validation.problems:
        note(f"{problem.level}: {problem.field}: {problem.message}")


def _why(change: RoutingChange) -> str:
    reason = change.detail.get("reason")
    stage = change.detail.get("percent")
    return str(reason) if reason else f"{stage} %" if stage is not None else ""
