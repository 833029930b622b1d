import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from gateway.auth import Authenticator
from tandem.errors import AuthenticationFailed, NotFound, PermissionDenied
from tandem.ids import IdFactory, KeyId, TenantId
from tandem.schemas.keys import ApiKey, Scope
from tandem.secrets import digest, new_token
from tandem.testing.clock import FakeClock

PEPPER = b"p" * 32
KEY_ID = IdFactory(now_ms=lambda: 1, random_bytes=bytes).key()
TOKEN, SECRET = new_token(KEY_ID)
NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Keys:
    """A key store with one key that counts how often it is asked."""

    def __init__(self) -> None:
        self.key = ApiKey(id=KEY_ID, name="test", tenant="acme", scopes=["chat"], created_at=NOW)
        self.asked = 0

    async def add(self, key_id: KeyId, tenant: TenantId, name: str, scopes: Sequence[Scope], digest: bytes) -> ApiKey:
        raise AssertionError("the authenticator never adds keys")

    async def find(self, key_id: KeyId) -> tuple[ApiKey, bytes] | None:
        self.asked += 1
        return (self.key, digest(PEPPER, SECRET)) if key_id == KEY_ID else None

    async def list(self) -> Sequence[ApiKey]:
        return [self.key]

    async def revoke(self, key_id: KeyId) -> ApiKey:
        if key_id != KEY_ID:
            raise NotFound("no such key")
        self.key = self.key.model_copy(update={"revoked_at": NOW})
        return self.key


def authenticator(keys: Keys, clock: FakeClock | None = None) -> Authenticator:
    return Authenticator(keys, PEPPER, clock or FakeClock(), cache_s=5)


async def test_a_valid_key_is_its_tenant() -> None:
    principal = await authenticator(Keys()).authenticate(f"Bearer {TOKEN}")
    assert (principal.tenant, principal.key_id, principal.scopes) == ("acme", KEY_ID, {"chat"})


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        TOKEN,
        f"Basic {TOKEN}",
        "Bearer tdm_x.y",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-2]}AA",
        f"Bearer {new_token(KEY_ID)[0]}",
    ],
    ids=["absent", "empty", "no token", "blank token", "no scheme", "other scheme", "malformed", "longer", "altered", "another secret"],
)
async def test_anything_else_is_nobody_and_is_never_repeated(value: str | None) -> None:
    with pytest.raises(AuthenticationFailed) as caught:
        await authenticator(Keys()).authenticate(value)
    assert "tdm_" not in caught.value.message


async def test_an_unknown_key_is_refused_like_a_wrong_one() -> None:
    other = IdFactory(now_ms=lambda: 2, random_bytes=bytes).key()
    with pytest.raises(AuthenticationFailed, match="unknown or revoked"):
        await authenticator(Keys()).authenticate(f"Bearer {new_token(other)[0]}")


async def test_a_verified_key_is_trusted_for_the_cache_time_only() -> None:
    keys, clock = Keys(), FakeClock()
    known = authenticator(keys, clock)
    await known.authenticate(f"Bearer {TOKEN}")
    await keys.revoke(KEY_ID)
    await known.authenticate(f"Bearer {TOKEN}")
    assert keys.asked == 1
    clock.advance(5)
    with pytest.raises(AuthenticationFailed, match="revoked"):
        await known.authenticate(f"Bearer {TOKEN}")


async def test_a_wrong_secret_for_a_cached_key_is_refused() -> None:
    known = authenticator(Keys())
    await known.authenticate(f"Bearer {TOKEN}")
    with pytest.raises(AuthenticationFailed):
        await known.authenticate(f"Bearer {new_token(KEY_ID)[0]}")


async def test_a_forgotten_key_is_asked_for_again() -> None:
    keys = Keys()
    known = authenticator(keys)
    await known.authenticate(f"Bearer {TOKEN}")
    known.forget(KEY_ID)
    await keys.revoke(KEY_ID)
    with pytest.raises(AuthenticationFailed):
        await known.authenticate(f"Bearer {TOKEN}")


async def test_a_scope_that_was_not_given_is_denied_by_name() -> None:
    principal = await authenticator(Keys()).authenticate(f"Bearer {TOKEN}")
    principal.require("chat")
    with pytest.raises(PermissionDenied, match="'admin'"):
        principal.require("admin")


async def test_one_look_at_the_store_serves_all_who_wait() -> None:
    keys = Keys()
    door = authenticator(keys)
    await asyncio.gather(*(door.authenticate(f"Bearer {TOKEN}") for _ in range(20)))
    assert keys.asked == 1


async def test_a_busy_key_is_looked_up_again_before_its_time_is_over_and_nobody_waits() -> None:
    keys, clock = Keys(), FakeClock()
    door = authenticator(keys, clock)
    await door.authenticate(f"Bearer {TOKEN}")
    clock.advance(3)
    await door.authenticate(f"Bearer {TOKEN}")
    assert keys.asked == 1  # answered from what is known; the look itself comes after
    await asyncio.sleep(0)
    assert keys.asked == 2
    clock.advance(4)  # beyond the first time, within the second
    await door.authenticate(f"Bearer {TOKEN}")
    assert keys.asked == 2
