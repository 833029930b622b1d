"""Takes out of a page what its reader would not see, so that a model does not see it either. Runs in the child, on trees of strangers.

Covered: comments, scripts, styles, templates, frames and forms' hidden fields; ``hidden``, ``aria-hidden``, closed dialogs; inline styles that hide
(display, visibility, opacity, zero sizes, far off-screen, clipping, no or background colour); the same in the page's own style sheets for selectors
of one tag, class or id; the usual class names for hidden text; invisible characters. Not covered: external style sheets, scripts that hide later,
text that is hard to see rather than hidden, and above all visible text: what is left is still the word of a stranger.
"""

import re
from collections.abc import Iterator
from typing import Final

from tools.web.tree import Element

_NEVER_SHOWN: Final = frozenset({
    "script", "style", "template", "noscript", "iframe", "frame", "object", "embed", "applet", "canvas", "audio", "video", "svg", "input", "select",
    "option", "datalist",
})  # fmt: skip
_HIDING: Final = re.compile(
    r"""
    (?:^|[;{\s])(?:
      display\s*:\s*none
    | visibility\s*:\s*(?:hidden|collapse)
    | content-visibility\s*:\s*hidden
    | opacity\s*:\s*(?:0(?:\.0\d*)?|\.0\d*|[0-4]%)\s*(?:!|;|$|\})
    | font-size\s*:\s*(?:0(?:\.\d+)?|\.\d+|1)(?:px|pt|em|rem|%|vw)?\s*(?:!|;|$|\})
    | (?:max-)?(?:width|height)\s*:\s*[01](?:px|pt|em|rem|%)?\s*(?:!|;|$|\})
    | (?:left|top|right|bottom|text-indent|margin(?:-left|-top)?)\s*:\s*-\s*\d{3,}
    | clip\s*:\s*rect\(\s*[01]
    | clip-path\s*:\s*(?:inset\(\s*(?:50|100)%|circle\(\s*0|polygon\(\s*0[^)]{0,20}\))
    | transform\s*:[^;}]{0,40}(?:scale\(\s*0|translate[XY]?\(\s*-\d{4})
    | color\s*:\s*(?:transparent|rgba\([^)]{0,40},\s*0(?:\.0\d*)?\s*\)|\#(?:[0-9a-f]{6}00|[0-9a-f]{3}0)\b)
    )""",
    re.IGNORECASE | re.VERBOSE,
)
_COLOUR: Final = re.compile(r"(?:^|[;\s])color\s*:\s*([^;!]{1,40})", re.IGNORECASE)
_BACKGROUND: Final = re.compile(r"background(?:-color)?\s*:\s*([^;!]{1,40})", re.IGNORECASE)
_WHITES: Final = frozenset({"white", "#fff", "#ffffff", "rgb(255,255,255)", "rgb(100%,100%,100%)"})
_HIDDEN_CLASSES: Final = frozenset({
    "sr-only", "visually-hidden", "visuallyhidden", "screen-reader-text", "screen-reader-only", "d-none", "hidden", "invisible", "hide", "is-hidden",
    "u-hidden", "display-none", "offscreen",
})  # fmt: skip
_RESPONSIVE: Final = re.compile(r"^(?:sm|md|lg|xl|2xl|xxl|print):|^d-(?:sm|md|lg|xl|xxl|print)-")
"""Classes that show on some screens what another one hides."""
_RULE: Final = re.compile(r"([^{}]{1,2000})\{([^{}]{0,4000})\}")
_SIMPLE_SELECTOR: Final = re.compile(r"[.#]?[A-Za-z][\w-]{0,100}")
_STYLE_CHARS: Final = 200_000
_INVISIBLE: Final = re.compile("[\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\u00ad\U000e0000-\U000e0fff\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
"""Zero-width, bidirectional, tag and control characters; joiners stay, for Persian and emoji need them."""


def visible_text(text: str) -> str:
    """The text without characters that carry words nobody sees."""
    return _INVISIBLE.sub("", text)


def drop_hidden(tree: Element) -> None:
    """Remove, in place, every element that is not shown; the text that follows it stays."""
    selectors = _hiding_selectors(tree)
    for element in list(_topmost_hidden(tree, selectors)):
        parent = element.getparent()
        if parent is not None:
            element.drop_tree()


def _topmost_hidden(tree: Element, selectors: frozenset[str]) -> Iterator[Element]:
    waiting = [tree]
    while waiting:
        element = waiting.pop()
        if element is not tree and _is_hidden(element, selectors):
            yield element
        else:
            waiting.extend(element)


def _is_hidden(element: Element, selectors: frozenset[str]) -> bool:
    if not isinstance(element.tag, str):
        return True
    tag = element.tag.lower()
    if tag in {"html", "body"}:
        return False
    return tag in _NEVER_SHOWN or _says_hidden(element, tag) or _is_styled_away(element) or _is_selected(element, tag, selectors)


def _says_hidden(element: Element, tag: str) -> bool:
    if element.get("hidden") is not None and element.get("hidden") != "until-found":
        return True
    return (element.get("aria-hidden") or "").strip().lower() == "true" or (tag == "dialog" and element.get("open") is None)


def _is_styled_away(element: Element) -> bool:
    style = element.get("style")
    if not style:
        return False
    plain = _uncommented(style)
    return _HIDING.search(plain) is not None or _is_colourless(element, plain)


def _is_colourless(element: Element, style: str) -> bool:
    """Text in the colour of its own background, or white where nothing gives a background."""
    found = _COLOUR.search(style)
    if found is None:
        return False
    colour = _canonical(found[1])
    background = _BACKGROUND.search(style)
    if background is not None:
        return _canonical(background[1]) == colour
    return colour in _WHITES and not any(_may_have_background(each) for each in (element, *element.iterancestors()))


def _may_have_background(element: Element) -> bool:
    # A style sheet of another file reaches an element by its class or id.
    return (
        any(element.get(name) is not None for name in ("class", "id", "bgcolor", "background"))
        or "background" in (element.get("style") or "").lower()
    )


def _is_selected(element: Element, tag: str, selectors: frozenset[str]) -> bool:
    classes = (element.get("class") or "").split()
    if not _HIDDEN_CLASSES.isdisjoint(classes) and not any(_RESPONSIVE.match(name) for name in classes):
        return True
    if not selectors:
        return False
    return tag in selectors or f"#{element.get('id')}" in selectors or any(f".{name}" in selectors for name in classes)


def _hiding_selectors(tree: Element) -> frozenset[str]:
    """Tags, classes and ids that the page's own style sheets hide; what a media query holds counts for no screen in particular and is left out."""
    sheets = "\n".join(style.text or "" for style in tree.iter("style"))[:_STYLE_CHARS]
    found: set[str] = set()
    for names, declarations in _RULE.findall(_without_at_blocks(_uncommented(sheets))):
        if _HIDING.search(declarations):
            found.update(name.strip() for name in names.split(",") if _SIMPLE_SELECTOR.fullmatch(name.strip()))
    return frozenset(found - {"html", "body"})


def _without_at_blocks(sheet: str) -> str:
    """A style sheet without its at-rules that nest (``@media`` and the like)."""
    kept: list[str] = []
    place = 0
    while (start := sheet.find("@", place)) >= 0:
        kept.append(sheet[place:start])
        place = _end_of_at_rule(sheet, start)
    kept.append(sheet[place:])
    return "".join(kept)


def _end_of_at_rule(sheet: str, start: int) -> int:
    depth = 0
    for place in range(start, len(sheet)):
        match sheet[place]:
            case "{":
                depth += 1
            case "}" if depth <= 1:
                return place + 1
            case "}":
                depth -= 1
            case ";" if depth == 0:
                return place + 1
            case _:
                pass
    return len(sheet)


def _uncommented(css: str) -> str:
    return re.sub(r"/\*.*?(?:\*/|\Z)", " ", css, flags=re.DOTALL)


def _canonical(colour: str) -> str:
    return "".join(colour.lower().split())
