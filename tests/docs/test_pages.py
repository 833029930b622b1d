"""The documentation tells the truth: names exist, generated pages are current, the site builds."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tandem.errors import TandemError
from tandem.settings import CONFIG_VARIABLE, ENV_PREFIX, Section, Settings

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])


def known_variables() -> set[str]:
    names = {CONFIG_VARIABLE}
    for name, field in Settings.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, Section):
            names |= {f"{ENV_PREFIX}{name}_{key}".upper() for key in section.model_fields}
        else:
            names.add(f"{ENV_PREFIX}{name}".upper())
    return names


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_variable_a_page_names_is_a_setting(page: Path) -> None:
    named = set(re.findall(r"\bTANDEM_[A-Z][A-Z_]*[A-Z]\b", page.read_text(encoding="utf-8")))
    assert named <= known_variables(), named - known_variables()


def test_generated_pages_match_the_code() -> None:
    done = subprocess.run([sys.executable, "scripts/generate_docs.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_route_is_mentioned() -> None:
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    paths = json.loads((ROOT / "openapi.json").read_text(encoding="utf-8"))["paths"]
    missing = [path for path in paths if path not in text]
    assert not missing, f"no page mentions {missing}"


def test_every_error_code_is_mentioned() -> None:
    text = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    pending = [TandemError]
    while pending:
        cls = pending.pop()
        pending += [child for child in cls.__subclasses__() if child.__module__ == TandemError.__module__]
        assert f"`{cls.code}`" in text, cls.code


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_local_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?://|#|<)([^)#\s]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.timeout(120)
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "site" / "quickstart" / "index.html").exists()
