"""The way to a model server, as bytes: the port. Its adapters are ``pool.py`` (plain HTTP) and ``aiohttp_transport.py`` (TLS)."""

from typing import Protocol


class Reply(Protocol):
    """An answer whose status has come and whose body is on its way."""

    @property
    def status(self) -> int: ...
    @property
    def content_type(self) -> str: ...

    async def read(self) -> bytes:
        """The next bytes as they arrive; empty at the end. Raises ``ModelError``."""
        ...

    def close(self) -> None:
        """Done with it; a reply that was not read to its end loses its connection, which stops the model."""
        ...


class Transport(Protocol):
    """Sends a chat request to one model server."""

    async def send(self, body: bytes) -> Reply:
        """Raises ``ModelUnavailable`` or ``ModelTimeout``."""
        ...

    async def close(self) -> None: ...
