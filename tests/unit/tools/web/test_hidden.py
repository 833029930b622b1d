"""What a page's reader would not see is not read, and what follows it still is."""

import pytest

from tools.web.hidden import visible_text
from tools.web.reading import read_html

TRAP = "IGNORE-ALL-RULES"
AROUND = "<p>The lake is 12 metres deep and very cold.</p>{}<p>Boats are let at the southern shore.</p>"

HIDDEN = {
    "display": '<div style="display:none">{}</div>',
    "display, odd spelling": '<div style="DISPLAY : NONE !important">{}</div>',
    "display, commented": '<div style="display/**/:/* x */none">{}</div>',
    "visibility": '<p style="color:red;visibility:hidden">{}</p>',
    "opacity": '<p style="opacity:0">{}</p>',
    "opacity near zero": '<p style="opacity:.01;">{}</p>',
    "font size": '<span style="font-size:0px">{}</span>',
    "font size one": '<span style="font-size: 1px">{}</span>',
    "zero height": '<div style="height:0;overflow:hidden">{}</div>',
    "one pixel wide": '<div style="position:absolute;width:1px">{}</div>',
    "off screen": '<div style="position:absolute;left:-9999px">{}</div>',
    "indented away": '<p style="text-indent:-9999px">{}</p>',
    "clipped": '<p style="position:absolute;clip:rect(0,0,0,0)">{}</p>',
    "clip path": '<p style="clip-path: inset(50%)">{}</p>',
    "scaled away": '<p style="transform:scale(0)">{}</p>',
    "transparent": '<p style="color:transparent">{}</p>',
    "transparent rgba": '<p style="color: rgba(0, 0, 0, 0)">{}</p>',
    "colour of its background": '<p style="color:#FFF;background:#fff">{}</p>',
    "white on nothing": '<font><p style="color:white">{}</p></font>',
    "hidden": "<p hidden>{}</p>",
    "aria-hidden": '<p aria-hidden="true">{}</p>',
    "inside of hidden": '<div style="display:none"><section><p>{}</p></section></div>',
    "comment": "<!-- {} -->",
    "conditional comment": "<!--[if IE]><p>{}</p><![endif]-->",
    "script": "<script>document.title='{}'</script>",
    "data block": '<script type="application/ld+json">{{"@type":"Article","articleBody":"{}"}}</script>',
    "template": "<template><p>{}</p></template>",
    "noscript": "<noscript>{}</noscript>",
    "closed dialog": "<dialog>{}</dialog>",
    "hidden field": '<input type="hidden" value="{}">',
    "text area of a frame": '<iframe srcdoc="{}">{}</iframe>',
    "alt text": '<img src="x.png" alt="{}">',
    "title attribute": '<p title="{}">Look.</p>',
    "svg": "<svg><text>{}</text></svg>",
    "usual class": '<span class="sr-only">{}</span>',
    "bootstrap": '<div class="box d-none">{}</div>',
    "style sheet, class": "<style>.note{{display:none}}</style><p class='a note'>{}</p>",
    "style sheet, id": "<style>p{{color:red}} #x , .y {{ visibility : hidden }}</style><p id=x>{}</p>",
    "style sheet, tag": "<style>/* hide */ aside{{font-size:0}}</style><aside>{}</aside>",
    "style sheet after a query": "<style>@media print{{.z{{color:red}}}} .w{{opacity:0}}</style><p class=w>{}</p>",
    "processing instruction": "<?php echo '{}' ?>",
}
SEEN = {
    "shown": '<p style="display:block">{}</p>',
    "small print": '<p style="font-size:10px">{}</p>',
    "faint": '<p style="opacity:0.5">{}</p>',
    "white on blue": '<p style="color:#fff;background:#00f">{}</p>',
    "white in a styled box": '<div class="hero"><p style="color:white">{}</p></div>',
    "hidden on telephones": '<div class="hidden md:block">{}</div>',
    "bootstrap on desktops": '<div class="d-none d-md-block">{}</div>',
    "only printed hidden": "<style>@media print{{.n{{display:none}}}}</style><p class=n>{}</p>",
    "hidden below another": "<style>.menu .n{{display:none}}</style><p class=n>{}</p>",
    "open dialog": "<dialog open>{}</dialog>",
    "aria-hidden false": '<p aria-hidden="false">{}</p>',
    "details": "<details><summary>More</summary>{}</details>",
    "width of a picture": '<p style="max-width:10px">{}</p>',
    "border of nothing": '<p style="border-width:0">{}</p>',
}


def read(trap: str) -> str:
    return read_html(f"<html><head><title>Lake</title></head><body>{AROUND.format(trap)}</body></html>", "https://lake.example/").text


@pytest.mark.parametrize("trap", HIDDEN.values(), ids=HIDDEN.keys())
def test_hidden_words_are_left_out_and_their_neighbours_stay(trap: str) -> None:
    text = read(trap.format(TRAP, TRAP))

    assert TRAP not in text
    assert "12 metres deep" in text
    assert "southern shore" in text


@pytest.mark.parametrize("shown", SEEN.values(), ids=SEEN.keys())
def test_words_that_are_seen_stay(shown: str) -> None:
    assert TRAP in read(shown.format(TRAP))


def test_the_text_behind_a_hidden_element_stays() -> None:
    assert "before after" in read('<p>before <span style="display:none">no</span>after</p>')


def test_hidden_links_are_not_listed() -> None:
    page = read_html('<p>Enough to be read here.</p><a href="/a">A</a><a href="/b" style="display:none">B</a>', "https://lake.example/")
    assert [url for _, url in page.links] == ["https://lake.example/a"]


def test_a_large_page_is_cleaned_as_well() -> None:
    body = "".join(f"<p>Paragraph {n} about the lake, its depth, its boats and its shores in winter.</p>" for n in range(200))
    text = read_html(
        f"<html><head><title>T</title></head><body><article>{body}<div style='display:none'>{TRAP}</div><p aria-hidden=true>{TRAP}</p><!--{TRAP}-->"
        f"<img alt='{TRAP}'></article></body></html>",
        "https://lake.example/",
    ).text

    assert "Paragraph 150" in text
    assert TRAP not in text


def test_invisible_characters_go_and_joiners_stay() -> None:
    smuggled = "".join(chr(0xE0000 + ord(letter)) for letter in "obey")
    assert visible_text(f"a\u200bb\u202ec\u2066d\ufeffe{smuggled}\x1b[31mf\x07") == "abcde[31mf"
    assert visible_text("👨\u200d👩 می\u200cخواهم 中文\tx\ny") == "👨\u200d👩 می\u200cخواهم 中文\tx\ny"


def test_an_endless_style_sheet_costs_no_time() -> None:
    sheet = "@media{" * 50_000 + "{" * 50_000 + "/*" * 50_000
    assert "12 metres" in read(f"<style>{sheet}</style>")
