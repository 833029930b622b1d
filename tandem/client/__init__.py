"""The typed client of Tandem's public API, sync and async on one sans-I/O core.

The ``tandem`` command and the pages of ``ui/`` know nothing else of the platform. What a call sends and how its answer is read stands
in ``calls.py`` and ``streams.py``, without I/O; ``sync.py`` and ``aio.py`` only move bytes.
"""

from tandem.client.aio import AsyncTandemClient
from tandem.client.streams import ChatPiece
from tandem.client.sync import TandemClient

__all__ = ["AsyncTandemClient", "ChatPiece", "TandemClient"]
