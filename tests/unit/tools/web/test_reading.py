"""Pages of several kinds as Markdown."""

import json
from contextlib import suppress
from typing import cast

import pytest

from tools.confined.work import WorkRefused
from tools.web.reading import MAX_LINKS, MAX_TEXT_CHARS, prime, read_html, work

URL = "https://site.example/a/page"


def read(body: str | bytes, kind: str = "html", charset: str | None = "utf-8") -> tuple[str, dict[str, object]]:
    done = work({"kind": kind, "charset": charset, "url": URL}, [body.encode() if isinstance(body, str) else body])
    return done.part.decode(), dict(done.answer)


def test_a_small_page_keeps_its_headings_lists_tables_and_code() -> None:
    text, facts = read(
        """<html><head><title>Prices &amp; more</title></head><body><nav><a href="/">Home</a></nav><h1>Prices</h1><p>All in <b>euro</b>,
        as of<br>today.</p><ul><li>Tea<ul><li>green</li></ul></li><li>Coffee</li></ul><ol><li>one</li><li>two</li></ol>
        <table><tr><th>What</th><th>EUR</th></tr><tr><td>Tea|cup</td><td>2</td></tr></table><pre>if x:
    y()</pre><p>Call <code>f()</code>.</p><blockquote>He said<p>so.</p></blockquote><footer>Imprint</footer></body></html>"""
    )

    assert text == (
        "# Prices\n\nAll in euro, as of\ntoday.\n\n- Tea\n  - green\n- Coffee\n\n1. one\n2. two\n\n| What | EUR |\n|---|---|\n| Tea\\|cup | 2 |\n\n"
        "```\nif x:\n    y()\n```\n\nCall `f()`.\n\n> He said\n>\n> so."
    )
    assert facts["title"] == "Prices"


def test_a_table_that_lays_a_page_out_is_read_through_and_a_real_one_keeps_its_caption() -> None:
    inner = "<table><caption>Depths</caption><tr><th>Lake</th></tr><tr><td></td></tr><tr><td>12</td><td>m</td></tr></table><table></table>"
    text, _ = read(f"<table><tr><td>The left column.</td><td>{inner}</td></tr></table>")
    assert text == "The left column.\n\nLake\n\n12\n\nm"

    text, _ = read(f"<div><h1> </h1>{inner}<hr><pre> </pre><ul></ul><blockquote></blockquote><code> </code></div>")
    assert text == "Depths\n\n| Lake |  |\n|---|---|\n| 12 | m |"


def test_navigation_is_shown_where_nothing_else_is() -> None:
    assert read("<body><nav role=navigation><a href=/a>The only words of this page</a></nav></body>")[0] == "The only words of this page"


def test_what_is_loaded_at_first_use_is_loaded_beforehand() -> None:
    prime()


def test_a_large_article_is_found_among_its_furniture_with_author_and_date() -> None:
    paragraphs = "".join(f"<p>Sentence {n} about the history of tea in the eastern provinces, told at length.</p>" for n in range(100))
    menu = "".join(f"<li><a href='/m{n}'>Menu entry {n}</a></li>" for n in range(80))
    text, facts = read(
        "<html><head><title>Tea - The Site</title><meta name=author content='Lu Yu'>"
        "<meta property='article:published_time' content='2024-05-06T07:08:09Z'>"
        f"</head><body><nav><ul>{menu}</ul></nav><article><h1>Tea</h1>{paragraphs}</article><footer>Imprint</footer></body></html>"
    )

    assert "Sentence 99" in text
    assert "Menu entry" not in text
    assert (facts["author"], facts["date"]) == ("Lu Yu", "2024-05-06")


def test_a_large_page_that_is_no_article_is_shown_whole() -> None:
    rows = "".join(f"<tr><td>Town {n}</td><td>{n * 7}</td></tr>" for n in range(400))
    text, _ = read(f"<html><body><h1>Towns</h1><table><tr><th>Name</th><th>People</th></tr>{rows}</table></body></html>")

    assert "| Town 399 | 2793 |" in text


@pytest.mark.parametrize("charset", ["gbk", None])
def test_a_chinese_page_in_gbk_is_read(charset: str | None) -> None:
    page = "<html><head><title>大熊猫</title></head><body><h1>大熊猫</h1><p>野生大熊猫约有1864只，主要生活在四川。</p></body></html>"
    text, facts = read(page.encode("gbk"), charset=charset)

    assert text == "# 大熊猫\n\n野生大熊猫约有1864只，主要生活在四川。"
    assert facts["title"] == "大熊猫"


@pytest.mark.parametrize(
    ("page", "says"),
    [
        ("<html><head><title>App</title></head><body><div id=root></div><script src=app.js></script></body></html>", "JavaScript"),
        ("<html><body><form>Sign in <input type=password></form><script>x</script></body></html>", "login"),
        ("<html><body><iframe src=/x></iframe></body></html>", "frames"),
        ("<html><body> <p hidden>secret words of some length</p></body></html>", "empty"),
        ("", "no HTML"),
        ("   ", "no HTML"),
    ],
)
def test_an_empty_page_is_an_error_that_says_what_it_may_be(page: str, says: str) -> None:
    with pytest.raises(WorkRefused, match=says) as raised:
        read(page)
    assert raised.value.code == "empty_page"


def test_a_short_page_without_scripts_is_a_page() -> None:
    assert read("<p>42</p>")[0] == "42"


def test_links_are_absolute_distinct_and_content_comes_before_furniture() -> None:
    page = read_html(
        """<base href="/docs/"><nav><a href="/home">Home</a></nav><p>Some words to read here. <a href="intro#top"> The
        intro </a> <a href="intro">again</a> <a href="https://other.example/?utm_source=x">Other</a>
        <a href="#here">here</a> <a href="mailto:a@b.c">mail</a>
        <a href="javascript:x()">x</a></p>""",
        URL,
    )
    assert page.links == [
        ("The intro", "https://site.example/docs/intro"),
        ("Other", "https://other.example/"),
        ("Home", "https://site.example/home"),
    ]


def test_links_are_bounded() -> None:
    page = read_html("<p>words to read, many of them</p>" + "".join(f"<a href='/{n}'>{n}</a> " for n in range(5_000)), URL)
    assert len(page.links) == MAX_LINKS


@pytest.mark.parametrize(("kind", "body"), [("json", '{"a": [1, "二"]}'), ("text", "line one\n\n二"), ("xml", "<a><b>x</b></a>")])
def test_other_texts_are_given_as_they_are(kind: str, body: str) -> None:
    assert read(body, kind)[0] == body


@pytest.mark.parametrize("kind", ["json", "text", "xml"])
def test_an_empty_text_is_an_error(kind: str) -> None:
    with pytest.raises(WorkRefused, match="empty"):
        read(" \n ", kind)


def test_bytes_that_are_no_text_are_an_error() -> None:
    with pytest.raises(WorkRefused, match="is not") as raised:
        read(bytes(range(32)) * 50, "text", None)
    assert raised.value.code == "unsupported_content"


RSS = """<?xml version="1.0"?><!DOCTYPE rss [<!ENTITY x SYSTEM "file:///etc/passwd">]><rss><channel><title>新闻</title>
<item><title>One &amp; only</title><link>/one?utm_source=rss</link><pubDate>Tue, 01 Dec 2026</pubDate>
<description>&lt;p&gt;Hello &lt;b&gt;you&lt;/b&gt;&lt;/p&gt;</description></item>
<item><title>&x;Two</title><link>javascript:alert(1)</link></item></channel></rss>"""
ATOM = """<feed xmlns="http://www.w3.org/2005/Atom"><title>Atoms</title><entry><title>一</title><link rel="self" href="/self"/><link href="/a"/>
<updated>2026-12-01</updated><summary>About it</summary></entry></feed>"""


LAUGHS = "".join(f"<!ENTITY {name} '{f'&{inner};' * 10}'>" for inner, name in ["ab", "bc", "cd", "de", "ef", "fg", "gh"])


def test_feeds_become_lists_of_their_items() -> None:
    text, facts = read(RSS, "xml")
    assert text == "## One & only\nhttps://site.example/one\nTue, 01 Dec 2026\nHello you\n\n## Two"
    assert (facts["title"], facts["links"]) == ("新闻", [["One & only", "https://site.example/one"]])
    assert read(ATOM, "xml")[0] == "## 一\nhttps://site.example/a\n2026-12-01\nAbout it"


@pytest.mark.parametrize(
    "body",
    [
        '<!DOCTYPE r [<!ENTITY a "aaaaaaaaaa">'
        + "".join(f'<!ENTITY {n} "{f"&{p};" * 10}">' for p, n in ["ab", "bc", "cd", "de", "ef", "fg", "gh"])
        + "]><rss>&h;</rss>",
        "<rss>" * 100_000,
        "<rss><channel><item>",
        "<" * 100_000,
    ],
    ids=["entities", "depth", "broken", "brackets"],
)
def test_hostile_xml_gives_some_bounded_text_or_a_reason(body: str) -> None:
    try:
        text, _ = read(body, "xml")
    except WorkRefused as error:
        text = error.message
    assert len(text) <= MAX_TEXT_CHARS


@pytest.mark.parametrize(
    "body",
    [
        "<div>" * 50_000 + "deep enough to be read" + "</div>" * 50_000,
        "<table><tr><td>" * 3_000 + "deep enough",
        "<ul><li>" * 3_000 + "deep enough",
        "<a href='x'>" * 20_000 + "deep enough",
        "<p " + "a=b " * 50_000 + ">words enough to read",
        "<!--" * 50_000 + "words enough to read",
        "&#x41;" * 100_000,
        "\x00<p>words enough to read, and more</p>",
    ],
    ids=["divs", "tables", "lists", "links", "attributes", "comments", "entities", "nul"],
)
def test_hostile_html_ends(body: str) -> None:
    with suppress(WorkRefused):
        assert len(read(body)[0]) <= MAX_TEXT_CHARS


def test_a_text_beyond_the_cap_is_cut_and_marked() -> None:
    text, facts = read("长文字。" * 200_000, "text")
    assert len(text) == MAX_TEXT_CHARS
    assert facts["is_cut"] is True


def test_title_and_labels_are_plain_and_bounded() -> None:
    _, facts = read(f"<title>a\u202e{'t' * 500}</title><p>Words enough to read here.</p><a href=/x>{'l' * 500}</a>")
    assert len(cast("str", facts["title"])) <= 200
    assert "\u202e" not in json.dumps(facts, ensure_ascii=False)
    assert len(cast("list[list[str]]", facts["links"])[0][0]) == 80
