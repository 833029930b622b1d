"""``/v1/models``: the names a caller may put into ``model``."""

from fastapi import APIRouter

from gateway.errors import shown
from gateway.routes.common import MayChat, UseServices
from tandem.errors import UnknownModel
from tandem.schemas.models import ModelCard, ModelList

doors = APIRouter(prefix="/v1/models", tags=["models"])


@doors.get("")
async def list_models(services: UseServices, caller: MayChat) -> ModelList:  # noqa: ARG001 - the caller's scope is what is checked
    """``auto`` routes, ``fast`` and ``slow`` force a lane; a served model's own name means its lane."""
    return ModelList(data=[ModelCard(id=name) for name in services.served])


@doors.get("/{model:path}")
async def read_model(model: str, services: UseServices, caller: MayChat) -> ModelCard:  # noqa: ARG001 - see above
    """One of them."""
    if model not in services.served:
        raise UnknownModel(f"model {shown(model)} is not served here; use one of {', '.join(services.served)}", param="model")
    return ModelCard(id=model)
