"""Bytes to text, whatever the server says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.web.charset import codec_of, decoded

CHINESE = "<p>大熊猫是中国特有的哺乳动物，主要栖息在四川。</p>"


@pytest.mark.parametrize(
    ("body", "declared", "text"),
    [
        ("né".encode(), None, "né"),
        ("né".encode(), "utf-8", "né"),
        ("né".encode("latin-1"), "iso-8859-1", "né"),
        ("“x”".encode("cp1252"), "iso-8859-1", "“x”"),
        ("né".encode(), "iso-8859-1", "né"),
        (CHINESE.encode("gbk"), "gb2312", CHINESE),
        (CHINESE.encode("gb18030"), "GBK", CHINESE),
        (CHINESE.encode("gbk"), None, CHINESE),
        (b"<meta charset=gbk>" + CHINESE.encode("gbk"), None, f"<meta charset=gbk>{CHINESE}"),
        (b"<meta charset=gbk>" + CHINESE.encode("gbk"), "ISO-8859-1", f"<meta charset=gbk>{CHINESE}"),
        (b'<meta http-equiv=x content="text/html; charset=gb2312">' + CHINESE.encode("gbk"), "utf-8", None),
        ("臺灣".encode("big5"), "big5", "臺灣"),
        ("日本語".encode("shift_jis"), "Shift_JIS", "日本語"),
        ("한국어".encode("euc-kr"), "euc-kr", "한국어"),
        ("Привет".encode("koi8-r"), "koi8-r", "Привет"),
        (b'<?xml version="1.0" encoding="windows-1251"?>' + "Привет".encode("cp1251"), None, '<?xml version="1.0" encoding="windows-1251"?>Привет'),
        ("\ufeff中".encode("utf-16"), "utf-8", None),
        ("中".encode("utf-8-sig"), "gbk", "中"),
        ("<meta charset='utf-16'>中".encode(), None, "<meta charset='utf-16'>中"),
        (b"", None, ""),
    ],
)
def test_header_page_and_bytes_are_weighed(body: bytes, declared: str | None, text: str | None) -> None:
    shown = decoded(body, declared)
    if text is None:
        assert "中" in shown or "大熊猫" in shown
    else:
        assert shown == text


def test_a_character_that_was_cut_at_the_end_spoils_nothing() -> None:
    assert decoded("大熊猫".encode()[:-1], "utf-8") == "大熊"
    assert decoded("大熊猫".encode("gbk")[:-1], "gbk") == "大熊"


@pytest.mark.parametrize(
    "label", ["zlib", "bz2_codec", "rot13", "base64", "hex", "unicode_escape", "idna", "punycode", "utf-7", "undefined", "../../x", "", "x" * 99]
)
def test_what_is_no_encoding_of_text_is_never_used(label: str) -> None:
    assert codec_of(label) is None
    assert decoded(b"plain", label) == "plain"


@given(st.binary(max_size=300), st.sampled_from([None, "utf-8", "gbk", "latin-1", "shift_jis", "nonsense"]))
def test_any_bytes_give_some_text(body: bytes, declared: str | None) -> None:
    decoded(body, declared).encode("utf-8", "replace")
