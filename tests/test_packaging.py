"""Flat package names are common; these checks say so when a stranger's wheel shadows ours."""

import importlib.metadata
import importlib.util
import sysconfig
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("tandem", "gateway", "router", "fast_model", "slow_worker", "tools", "ui")


@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_resolves_to_this_repository(name: str) -> None:
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.origin is not None
    assert Path(spec.origin).is_relative_to(ROOT), f"{name} comes from {spec.origin}"


@pytest.mark.parametrize("name", PACKAGES)
def test_no_installed_distribution_ships_the_name(name: str) -> None:
    for key in ("purelib", "platlib"):
        folder = Path(sysconfig.get_path(key))
        strangers = [path for path in (folder / name, folder / f"{name}.py") if path.exists()]
        assert not strangers, f"{strangers} belong to {importlib.metadata.packages_distributions().get(name)}"


@pytest.mark.parametrize("path", sorted((ROOT / "ui").rglob("*.py")), ids=lambda path: path.stem)
def test_no_page_file_is_named_like_a_package(path: Path) -> None:
    assert path.stem not in PACKAGES, "Streamlit puts ui/ first on sys.path: this file would replace the package"


def test_the_wheel_ships_every_package_and_nothing_else() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert sorted(project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]) == sorted(PACKAGES)
