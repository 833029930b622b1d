"""What changed between two policies, field by field."""

import json
from collections.abc import Mapping
from typing import Final, cast

from tandem.schemas.policies import PolicyDiff, RoutingPolicy

ABSENT: Final = "absent"
"""Stands for a field that one of the two does not have, as of a rule that was added."""


def diff(before: RoutingPolicy, after: RoutingPolicy) -> list[PolicyDiff]:
    """The fields that differ, as dotted paths in the policy's order.

    Rules go by their name and classes by what they are for. The order of the rules, which decides, is a field of its own.
    """
    old, new = _fields(before), _fields(after)
    paths = [*old, *(path for path in new if path not in old)]
    return [PolicyDiff(field=path, before=old.get(path, ABSENT), after=new.get(path, ABSENT)) for path in paths if old.get(path) != new.get(path)]


def _fields(policy: RoutingPolicy) -> dict[str, str]:
    document = cast("dict[str, object]", policy.model_dump(mode="json", exclude={"rules", "classes"}))
    document["classes"] = {"+".join(filter(None, (each.language, each.intent))): _set_fields(each.model_dump(mode="json")) for each in policy.classes}
    document["rules"] = {rule.name: _set_fields(rule.model_dump(mode="json", exclude={"name"})) for rule in policy.rules}
    document["rules_order"] = [rule.name for rule in policy.rules]
    return dict(_flat(document, ""))


def _set_fields(fields: dict[str, object]) -> dict[str, object]:
    """Without the conditions that are not set."""
    return {name: value for name, value in fields.items() if value is not None}


def _flat(value: Mapping[str, object], prefix: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for name, each in value.items():
        if isinstance(each, dict):
            found += _flat(cast("Mapping[str, object]", each), f"{prefix}{name}.")
        else:
            found.append((f"{prefix}{name}", each if isinstance(each, str) else json.dumps(each, ensure_ascii=False)))
    return found
