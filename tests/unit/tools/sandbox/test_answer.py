"""A reply is whatever a program likes to send: it is read, or it is a ``ValueError``, and never anything else."""

import json
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.sandbox.answer import Head

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
)
HEADS = st.fixed_dictionaries({"value": JSON, "error": JSON, "files": JSON}, optional={"left_out": JSON, "is_cut": JSON})


@given(JSON | HEADS)
def test_any_json_is_a_reply_or_is_refused(told: object) -> None:
    text = json.dumps(told)
    try:
        head = Head.read(text)
    except ValueError:
        return
    assert head.value == json.loads(text)["value"] or head.value != head.value


@given(st.binary())
def test_any_bytes_are_a_reply_or_are_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match="not the form of one"):
        Head.read(raw)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"value": ' * 100_000, '{"value": ' + "9" * (sys.get_int_max_str_digits() + 1) + "}"])
def test_depth_and_length_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not the form of one"):
        Head.read(text)
