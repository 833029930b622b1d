"""The models a caller may name, in OpenAI's shape."""

from typing import Literal

from tandem.schemas.base import Wire


class ModelCard(Wire):
    """One name for the ``model`` field."""

    id: str
    """``auto``, ``fast``, ``slow``, or the name of a served model."""
    object: Literal["model"] = "model"
    created: int = 0
    """Unix seconds; 0 because a lane has no release date."""
    owned_by: str = "tandem"


class ModelList(Wire):
    """Answer of ``GET /v1/models``."""

    object: Literal["list"] = "list"
    data: list[ModelCard]
