"""What holds of the clients without a call being made."""

from tandem.client import AsyncTandemClient, TandemClient
from tandem.client.http import Door


def test_the_key_is_not_in_the_doors_repr() -> None:
    assert "tdm_key" not in repr(Door("http://127.0.0.1:1", "tdm_key"))


def test_both_clients_offer_the_same() -> None:
    def offered(kind: type[object]) -> set[str]:
        return {name for name in dir(kind) if not name.startswith("_")}

    assert offered(TandemClient) == offered(AsyncTandemClient)
