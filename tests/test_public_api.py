"""The public face of each package: what ``__all__`` names exists, is documented, and ports promise what their adapters hold."""

import importlib
import inspect

import pytest

from tandem import ports

FACES = (
    "tandem.client",
    "tandem.egress",
    "tandem.events",
    "tandem.models",
    "tandem.secrets",
    "tandem.storage",
    "tandem.supervisor",
    "tandem.telemetry",
    "tandem.webhooks",
)


@pytest.mark.parametrize("name", FACES)
def test_a_public_face_names_what_it_has_in_order(name: str) -> None:
    module = importlib.import_module(name)
    names: list[str] = module.__all__
    assert len(set(names)) == len(names)
    for public in names:
        assert hasattr(module, public), public


@pytest.mark.parametrize("name", FACES)
def test_every_public_class_and_function_says_what_it_is_for(name: str) -> None:
    module = importlib.import_module(name)
    for public in module.__all__:
        value = getattr(module, public)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert inspect.getdoc(value), public


def test_every_port_says_what_it_is_for() -> None:
    for name, value in vars(ports).items():
        if inspect.isclass(value) and value.__module__ == ports.__name__:
            assert inspect.getdoc(value), name
