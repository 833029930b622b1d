"""Standard Webhooks signatures against two independent verifiers, and the retry schedule."""

import base64
import json
import time
from datetime import UTC, datetime

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st
from openai import OpenAI
from standardwebhooks import Webhook, WebhookVerificationError

from tandem.errors import AuthenticationFailed, SettingsInvalid
from tandem.schemas.webhooks import Signing, WebhookData, WebhookEvent
from tandem.webhooks import (
    RETRY_DELAYS_S,
    new_secret,
    parse_secret,
    parse_signing_key,
    parse_verifying_key,
    public_key,
    retry_delay_s,
    sign,
    signed_headers,
    verify,
)

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
OTHER = "whsec_" + base64.b64encode(bytes(range(1, 33))).decode()
KEYS = [parse_secret(SECRET)]
NOW = 1_700_000_000


def event_body() -> bytes:
    data = WebhookData(id="resp_1", job_id="job_1", status="completed", sequence_number=7, metadata={"a": "认真"})
    event = WebhookEvent(id="dlv_1", type="response.completed", created_at=1, timestamp=datetime(2026, 11, 22, tzinfo=UTC), data=data)
    return event.model_dump_json().encode()


def test_the_standard_example_is_reproduced() -> None:
    # The example of the specification's own test vectors.
    keys = [parse_secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")]
    signature = sign(keys, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize("secret", [SECRET, OTHER])
def test_the_reference_library_accepts_us_while_two_secrets_live(secret: str) -> None:
    body = event_body()
    headers = signed_headers([parse_secret(SECRET), parse_secret(OTHER)], "dlv_1", int(time.time()), body)
    assert headers["webhook-signature"].count(" ") == 1
    assert Webhook(secret).verify(body, headers)["data"]["job_id"] == "job_1"


def test_the_reference_library_refuses_a_changed_body() -> None:
    headers = signed_headers(KEYS, "dlv_1", int(time.time()), event_body())
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(event_body() + b" ", headers)


def test_the_openai_client_unwraps_our_event() -> None:
    body = event_body()
    headers = signed_headers(KEYS, "dlv_1", int(time.time()), body)
    event = OpenAI(api_key="none").webhooks.unwrap(body.decode(), headers, secret=SECRET)
    assert event.type == "response.completed"
    assert event.data.id == "resp_1"


def test_we_accept_the_reference_librarys_signature() -> None:
    signature = Webhook(SECRET).sign("msg_1", datetime.fromtimestamp(NOW, UTC), "{}")
    headers = {"Webhook-Id": "msg_1", "Webhook-Timestamp": str(NOW), "Webhook-Signature": f"v1a,AAAA {signature}"}
    assert verify(KEYS, headers, b"{}", NOW) == "msg_1"


@given(st.binary(max_size=200), st.integers(0, 2**33), st.sampled_from([[KEYS[0]], [b"x" * 24, KEYS[0]]]))
def test_what_is_signed_verifies_and_one_flipped_bit_does_not(body: bytes, timestamp: int, keys: list[bytes]) -> None:
    headers = signed_headers(keys, "dlv_1", timestamp, body)
    assert verify(KEYS, headers, body, timestamp) == "dlv_1"
    with pytest.raises(AuthenticationFailed):
        verify(KEYS, headers, bytes([body[0] ^ 1]) + body[1:] if body else b"x", timestamp)


@pytest.mark.parametrize("now", [NOW + 301, NOW - 301])
def test_a_timestamp_beyond_the_tolerance_is_refused(now: int) -> None:
    headers = signed_headers(KEYS, "dlv_1", NOW, b"{}")
    assert verify(KEYS, headers, b"{}", NOW + 300) == "dlv_1"
    with pytest.raises(AuthenticationFailed, match="more than 300 s"):
        verify(KEYS, headers, b"{}", now)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"webhook-id": ""}, "lacks the header 'webhook-id'"),
        ({"webhook-signature": ""}, "lacks the header 'webhook-signature'"),
        ({"webhook-timestamp": "soon"}, "'soon' is not in Unix seconds"),
        ({"webhook-timestamp": "-1"}, "not in Unix seconds"),
        ({"webhook-timestamp": "٣"}, "not in Unix seconds"),
        ({"webhook-timestamp": "9" * 5000}, "not in Unix seconds"),
        ({"webhook-id": "dlv_2"}, "no signature"),
        ({"webhook-signature": "v1"}, "no signature"),
        ({"webhook-signature": "v1,%%% v2,AAAA"}, "no signature"),
    ],
)
def test_malformed_headers_are_refused(changed: dict[str, str], message: str) -> None:
    headers = signed_headers(KEYS, "dlv_1", NOW, b"{}") | changed
    with pytest.raises(AuthenticationFailed, match=message):
        verify(KEYS, headers, b"{}", NOW)


@pytest.mark.parametrize(
    ("secret", "message"),
    [
        ("", "does not start with 'whsec_'"),
        ("hunter2hunter2hunter2hunter2hunter2", "does not start with 'whsec_'"),
        ("whsec_", "holds 0 bytes"),
        ("whsec_AAAA", "holds 3 bytes"),
        ("whsec_" + "A" * 88, "holds 66 bytes"),
        ("whsec_hunter2!hunter2!hunter2!hunter2!", "is not base64"),
        ("whsec_密钥密钥密钥密钥", "is not base64"),
    ],
)
def test_a_bad_secret_is_explained_without_being_shown(secret: str, message: str) -> None:
    with pytest.raises(SettingsInvalid, match=message) as caught:
        parse_secret(secret)
    assert "hunter2" not in caught.value.message


def test_an_unpadded_secret_is_accepted() -> None:
    assert parse_secret(SECRET.rstrip("=")) == KEYS[0]


def test_signing_without_a_key_or_with_a_dotted_id_is_a_defect() -> None:
    with pytest.raises(ValueError, match="at least one"):
        sign([], "dlv_1", NOW, b"")
    with pytest.raises(ValueError, match="holds a dot"):
        sign(KEYS, "dlv.1", NOW, b"")


PRIVATE = "whsk_" + base64.b64encode(bytes(range(32))).decode()


def test_an_ed25519_signature_verifies_with_the_bare_public_key() -> None:
    public = public_key(PRIVATE)
    assert public is not None
    headers = signed_headers([parse_signing_key(PRIVATE)], "dlv_1", NOW, b"{}")
    version, _, encoded = headers["webhook-signature"].partition(",")
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public.removeprefix("whpk_")))
    key.verify(base64.b64decode(encoded), f"dlv_1.{NOW}.{{}}".encode())
    with pytest.raises(InvalidSignature):
        key.verify(base64.b64decode(encoded), f"dlv_1.{NOW}.[]".encode())
    assert version == "v1a"


def test_we_verify_ed25519_and_refuse_a_changed_body() -> None:
    keys = [parse_verifying_key(public_key(PRIVATE) or "")]
    headers = signed_headers([parse_signing_key(PRIVATE)], "dlv_1", NOW, b"{}")
    assert verify(keys, headers, b"{}", NOW) == "dlv_1"
    with pytest.raises(AuthenticationFailed):
        verify(keys, headers, b"[]", NOW)


def test_each_receiver_finds_its_own_among_signatures_of_both_kinds() -> None:
    headers = signed_headers([parse_signing_key(PRIVATE), *KEYS], "dlv_1", NOW, b"{}")
    for key in (public_key(PRIVATE) or "", SECRET):
        assert verify([parse_verifying_key(key)], headers, b"{}", NOW) == "dlv_1"


def test_a_signature_counts_only_under_its_own_version() -> None:
    headers = signed_headers(KEYS, "dlv_1", NOW, b"{}")
    headers["webhook-signature"] = headers["webhook-signature"].replace("v1,", "v1a,")
    for key in (SECRET, public_key(PRIVATE) or ""):
        with pytest.raises(AuthenticationFailed):
            verify([parse_verifying_key(key)], headers, b"{}", NOW)


def test_a_shared_secret_has_no_public_half() -> None:
    assert public_key(SECRET) is None


@pytest.mark.parametrize(("signing", "prefix"), [("hmac", "whsec_"), ("ed25519", "whsk_")])
def test_a_new_secret_is_fresh_and_signs(signing: Signing, prefix: str) -> None:
    one, two = new_secret(signing), new_secret(signing)
    assert one != two
    assert one.startswith(prefix)
    assert sign([parse_signing_key(one)], "dlv_1", NOW, b"")


@pytest.mark.parametrize(("text", "message"), [("whsk_AAAA", "holds 3 bytes"), ("whsk_%", "is not base64 after 'whsk_'"), ("whpk_", "start with")])
def test_a_bad_signing_key_is_explained(text: str, message: str) -> None:
    with pytest.raises(SettingsInvalid, match=message):
        parse_signing_key(text)


def test_a_private_key_never_shows_in_repr() -> None:
    assert "seed" not in repr(parse_signing_key(PRIVATE))


def test_ten_attempts_take_three_days() -> None:
    delays = [retry_delay_s(attempt, 0) for attempt in range(1, 12)]
    assert delays == [0, 5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400, None]
    assert sum(RETRY_DELAYS_S) / 3600 == pytest.approx(75.6, abs=0.05)


def test_jitter_moves_a_delay_by_a_fifth_at_most() -> None:
    assert [retry_delay_s(3, jitter) for jitter in (-9, -1, 0, 1, 9)] == [240, 240, 300, 360, 360]


@pytest.mark.parametrize(("asked", "expected"), [(None, 300), (0, 300), (10, 300), (1_000, 1_000), (3_601, 3_600), (1e9, 3_600)])
def test_retry_after_is_honoured_within_an_hour_for_short_delays(asked: float | None, expected: float) -> None:
    assert retry_delay_s(3, 0, asked) == expected


def test_retry_after_is_honoured_up_to_the_double_of_long_delays() -> None:
    assert retry_delay_s(5, 0, 1e9) == 14_400


def test_attempts_count_from_one() -> None:
    with pytest.raises(ValueError, match="count from 1"):
        retry_delay_s(0, 0)


def test_the_body_of_an_event_is_thin() -> None:
    assert set(json.loads(event_body())["data"]) == {"id", "job_id", "status", "sequence_number", "metadata"}
