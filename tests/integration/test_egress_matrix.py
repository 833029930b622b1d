"""The egress matrix over every feature that reaches out, each through its real entry point."""

from collections.abc import Awaitable, Callable
from typing import Literal

import pytest

from tandem.egress import PUBLIC_WEB, GuardedClient
from tandem.testing.egress_matrix import ROWS, Row, is_reached, leaks, leaks_by_redirect

Scheme = Literal["http", "https"]
Feature = Callable[[GuardedClient, str], Awaitable[object]]


async def page(client: GuardedClient, url: str) -> object:
    return await client.fetch(url, rules=PUBLIC_WEB)


FEATURES: dict[str, Feature] = {"page": page}


def test_the_matrix_has_its_45_rows() -> None:
    kinds = [row.kind for row in ROWS]
    assert (len(ROWS), kinds.count("forbidden"), kinds.count("control")) == (45, 38, 2)


@pytest.mark.parametrize("scheme", ["https", "http"])
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.template)
@pytest.mark.parametrize("feature", FEATURES)
async def test_no_feature_dials_what_it_must_not(feature: str, row: Row, scheme: Scheme) -> None:
    assert await leaks(FEATURES[feature], row.url(scheme)) == set()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.template)
@pytest.mark.parametrize("feature", FEATURES)
async def test_no_redirect_leads_a_feature_where_it_must_not_go(feature: str, row: Row) -> None:
    assert await leaks_by_redirect(FEATURES[feature], row.url("https")) == set()


@pytest.mark.parametrize("feature", FEATURES)
async def test_each_feature_reaches_what_is_public(feature: str) -> None:
    assert await is_reached(FEATURES[feature])
