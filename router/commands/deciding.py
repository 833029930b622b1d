"""What ``score`` and ``explain`` decide with: an artefact and a policy, from options or else from the settings."""

from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from router.artifacts import load_classifier
from router.policy import Policy, decide, default_policy
from tandem.errors import InvalidRequest
from tandem.ports import Classifier, Turns
from tandem.schemas.policies import RoutingPolicy
from tandem.settings import Settings


@dataclass(frozen=True, slots=True)
class Deciding:
    """Who scores, and what the score leads to."""

    classifier: Classifier
    policy: Policy


def open_deciding(artifact: Path | None, policy: Path | None) -> Deciding:
    """Raises ``RouterArtifactInvalid``, ``SettingsInvalid``, or ``InvalidRequest`` for a policy file that is none."""
    settings = Settings.load().router
    chosen = default_policy(settings) if policy is None else Policy.of(policy.stem, _read_policy(policy))
    classifier = load_classifier(artifact or settings.artifact)
    decide(Turns(text="warm up"), classifier, chosen)  # the first call of a process pays for what is loaded late, which is no decision's time
    return Deciding(classifier, chosen)


def _read_policy(path: Path) -> RoutingPolicy:
    try:
        return RoutingPolicy.model_validate_json(path.read_bytes())
    except OSError as error:
        raise InvalidRequest(f"the policy {str(path)!r} cannot be read ({error.strerror})") from error
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, problem["loc"])) or "the file"
        raise InvalidRequest(f"{str(path)!r} is not a routing policy: {where}: {problem['msg']}; `tandem router policies show` prints one") from error
