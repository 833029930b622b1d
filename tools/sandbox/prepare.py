"""``python -m tools.sandbox.prepare FOLDER``: finishes the folder of packages after they were installed into it.

Removes the packages' own tests (a fifth of the size), lets every user read the rest, and makes Matplotlib's list of fonts once: without it each
run would look at every font anew, for a second. A Chinese font goes behind Matplotlib's own, so that it serves only what that one lacks.
"""

import json
import os
import shutil
import sys
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from tools.sandbox.bwrap import PACKAGES

_CHINESE: Final = "Noto Sans CJK SC"
_FONT: Final = Path("manimgx_fonts_cjk", "NotoSansCJK-VF.otf.ttc")
SETTINGS: Final = f"font.family: DejaVu Sans, {_CHINESE}\n"


def prepare(folder: Path) -> None:
    """Idempotent. Raises ``ImportError`` where Matplotlib is not in the folder."""
    for tests in [found for found in folder.rglob("tests") if found.is_dir()]:
        shutil.rmtree(tests)
    listing = folder / ".matplotlib"
    shutil.rmtree(listing, ignore_errors=True)
    listing.mkdir()
    _list_fonts(folder, listing)
    (listing / "matplotlibrc").write_text(SETTINGS, encoding="utf-8")
    for path in [folder, *folder.rglob("*")]:
        mode = path.stat().st_mode
        path.chmod(mode | 0o444 | (0o111 if path.is_dir() else 0))


def _list_fonts(folder: Path, listing: Path) -> None:
    os.environ["MPLCONFIGDIR"] = str(listing)
    sys.path.insert(0, str(folder))
    fonts: Any = import_module("matplotlib.font_manager")
    fonts.fontManager.addfont(folder / _FONT)
    (made,) = listing.glob("fontlist-*.json")
    fonts.json_dump(fonts.fontManager, made)
    listed = json.loads(made.read_text(encoding="utf-8"))
    for entry in listed["ttflist"]:
        if entry["fname"].startswith(str(folder)):
            # The program sees the folder under another path; and a font of all weights calls itself by its thinnest.
            entry |= {"fname": entry["fname"].replace(str(folder), PACKAGES, 1), "weight": 400}
    made.write_text(json.dumps(listed), encoding="utf-8")


if __name__ == "__main__":
    prepare(Path(sys.argv[1]).resolve())
