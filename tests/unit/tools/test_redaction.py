"""Arguments as logs, events and approvals may show them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.redaction import MASK, digest, masked, redacted


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer abcdefgh12345678",
        "use sk-abcdefghijklmnopqrstuvwx now",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc",
        "https://user:hunter2hunter2@example.com/",
        "https://example.com/?a=1&access_token=hunter2hunter2&b=2",
        "-----BEGIN RSA PRIVATE KEY-----\nMIIE hunter2\n-----END RSA PRIVATE KEY-----",
    ],
)
def test_what_looks_like_a_secret_is_masked(text: str) -> None:
    shown = masked(text)

    assert MASK in shown
    assert not any(secret in shown for secret in ("hunter2", "abcdefgh", "eyJ"))


def test_values_under_names_of_secrets_are_masked_at_any_depth() -> None:
    assert redacted({"to": "eve", "headers": {"X-Api-Key": "4711"}, "密码": "芝麻开门"}) == {
        "to": "eve",
        "headers": {"X-Api-Key": MASK},
        "密码": MASK,
    }


def test_long_texts_are_cut_and_deep_values_left_out() -> None:
    shown = redacted({"text": "x" * 1_000, "deep": {"a": {"b": {"c": {"d": 1}}}}, "many": list(range(100))})

    assert len(str(shown)) < 600


@given(st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5), max_size=5))
def test_equal_arguments_have_one_digest_whatever_their_order(arguments: dict[str, int | str]) -> None:
    assert digest(arguments) == digest(dict(reversed(arguments.items())))
    assert digest(arguments) != digest({**arguments, "": "another"}) or arguments.get("") == "another"
