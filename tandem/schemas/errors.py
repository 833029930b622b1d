"""The one shape of every error answer (OpenAI's)."""

from tandem.schemas.base import Wire


class ErrorDetail(Wire):
    """What went wrong and what to do."""

    message: str
    """What, with the offending value, and the remedy."""
    type: str
    """Coarse class: ``invalid_request_error``, ``authentication_error``, ``not_found_error``, ``rate_limit_error``, ``model_error`` or
    ``server_error``."""
    code: str
    """Stable code of ``tandem/errors.py``."""
    param: str | None = None
    """Offending field, dotted; null when the fault is not in one field."""


class ErrorBody(Wire):
    """Body of every answer with status 4xx or 5xx."""

    error: ErrorDetail
