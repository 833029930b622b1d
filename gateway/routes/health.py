"""Liveness, readiness, metrics. The first two are public and say nothing secret; metrics are open on loopback only (see app.py)."""

from fastapi import APIRouter, Response

from gateway.routes.common import UseServices
from tandem.schemas.health import Readiness

doors = APIRouter(tags=["health"])


@doors.get("/healthz")
async def live() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok"}


@doors.get("/readyz", responses={503: {"model": Readiness}})
async def ready(services: UseServices, response: Response) -> Readiness:
    """Whether requests can be served, and what is degraded."""
    readiness = await services.board.read()
    response.status_code = 503 if readiness.state == "down" else 200
    return readiness


@doors.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def metrics(services: UseServices) -> Response:
    """Prometheus text."""
    await services.refresh_gauges()
    return Response(services.dependencies.metrics.render(), media_type="text/plain; version=0.0.4; charset=utf-8")
