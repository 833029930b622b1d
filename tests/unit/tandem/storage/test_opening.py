"""Opening a storage costs no connection and understands libpq's spelling."""

import pytest
from pydantic import SecretStr

from tandem.settings import DatabaseSettings, Settings
from tandem.storage import open_storage


@pytest.mark.parametrize("query", ["", "?sslmode=require"])
async def test_a_storage_opens_while_its_database_is_away(query: str) -> None:
    url = SecretStr(f"postgresql://user:hidden@127.0.0.1:1/tandem{query}")
    await open_storage(Settings(database=DatabaseSettings(url=url))).close()
