"""Addresses in one spelling."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.web.addresses import distinct, plain_url, unwrapped


@pytest.mark.parametrize(
    ("url", "plain"),
    [
        ("HTTPS://Example.COM", "https://example.com/"),
        ("https://example.com:443/a#part", "https://example.com/a"),
        ("http://example.com:8080/a", "http://example.com:8080/a"),
        ("https://example.com/?q=a+b&utm_source=x&fbclid=1&p=", "https://example.com/?q=a+b&p="),
        ("https://zh.wikipedia.org/wiki/猫?a=狗", "https://zh.wikipedia.org/wiki/%E7%8C%AB?a=%E7%8B%97"),
        ("https://zh.wikipedia.org/wiki/%E7%8C%AB", "https://zh.wikipedia.org/wiki/%E7%8C%AB"),
        ("https://例子.测试/页", "https://xn--fsqu00a.xn--0zwm56d/%E9%A1%B5"),
        ("  https://example.com/a b  ", "https://example.com/a%20b"),
        ("http://[2001:db8::1]/x", "http://[2001:db8::1]/x"),
    ],
)
def test_an_address_has_one_spelling(url: str, plain: str) -> None:
    assert plain_url(url) == plain


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)", "data:text/html,x", "ftp://example.com/", "mailto:a@example.com", "//example.com/", "example.com", "",
        "https://",
        "https://user:secret@example.com/", "https://example.com:99999/", "https://[::1", "https://exa mple.com/", "https://例\u200d子..测试/",
        f"https://example.com/{'a' * 2100}",
    ],
)  # fmt: skip
def test_what_is_no_page_has_none(url: str) -> None:
    assert plain_url(url) is None


def test_a_relative_address_belongs_to_its_page() -> None:
    assert plain_url("../b?x=1#y", "https://example.com/a/c/d") == "https://example.com/a/b?x=1"


def test_each_page_is_listed_once_with_its_first_spelling() -> None:
    urls = ["https://example.com/a/", "http://example.com/a", "https://www.example.com/a", "https://example.com/b"]
    assert distinct(urls) == ["https://example.com/a/", "https://example.com/b"]


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("//duckduckgo.com/l/?uddg=https%3A%2F%2Fexample.com%2Fa%3Fb%3D1&rut=f00", "https://example.com/a?b=1"),
        ("https://duckduckgo.com/l/?uddg=https%3A%2F%2Fexample.com%2F", "https://example.com/"),
        ("https://example.com/l/?uddg=https%3A%2F%2Fother.example%2F", "https://example.com/l/?uddg=https%3A%2F%2Fother.example%2F"),
        ("https://notduckduckgo.com/l/?uddg=x", "https://notduckduckgo.com/l/?uddg=x"),
        ("https://[broken", "https://[broken"),
    ],
)
def test_only_duckduckgos_own_redirect_is_unwrapped(url: str, target: str) -> None:
    assert unwrapped(url) == target


@given(st.text(max_size=200))
def test_no_text_breaks_it_and_its_result_is_stable(text: str) -> None:
    plain = plain_url(f"https://example.com/{text}")
    assert plain is None or (plain.isascii() and plain_url(plain) == plain)
    assert isinstance(unwrapped(text), str)
    assert plain_url(text) is None or plain_url(text, "https://example.com/") == plain_url(text)
