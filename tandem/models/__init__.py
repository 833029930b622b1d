"""The model catalogue, the fetcher of its files, and the client of model servers."""

from typing import Literal

from tandem.models.catalogue import CATALOGUE, DEFAULT_MODELS, CatalogueModel, find_model
from tandem.models.client import Endpoint, OpenAIChatModel
from tandem.models.fetch import fetch_model
from tandem.models.progress import FetchStep, LineProgress, Progress
from tandem.ports import ChatModel
from tandem.settings import Settings


def served_name(settings: Settings, lane: Literal["fast", "slow"]) -> str:
    """The name under which the lane's server knows its model."""
    section = settings.fast if lane == "fast" else settings.slow
    return section.model or DEFAULT_MODELS[lane]


def open_chat_model(settings: Settings, lane: Literal["fast", "slow"]) -> ChatModel:
    """A client of the lane's model server; connects at the first request. Close it when done."""
    section = settings.fast if lane == "fast" else settings.slow
    endpoint = Endpoint(
        url=settings.model_url(lane),
        model=served_name(settings, lane),
        api_key=section.api_key.get_secret_value() if section.api_key else None,
        connect_timeout_s=section.connect_timeout_s,
        read_timeout_s=section.read_timeout_s,
        takes_grammar=True if section.url is None else None,
    )
    return OpenAIChatModel(endpoint)


__all__ = [
    "CATALOGUE",
    "DEFAULT_MODELS",
    "CatalogueModel",
    "Endpoint",
    "FetchStep",
    "LineProgress",
    "OpenAIChatModel",
    "Progress",
    "fetch_model",
    "find_model",
    "open_chat_model",
    "served_name",
]
