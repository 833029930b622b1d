"""``/v1/router/labels``: what was learnt of decisions, for a person to approve. Only approved rows are trained on. For administrators."""

import hashlib
from collections.abc import AsyncGenerator
from typing import Annotated, Final

from fastapi import APIRouter, Query
from starlette.responses import StreamingResponse

from gateway.routes.common import MayAdminister, UseServices, known_id
from tandem.ids import DecisionId, OutcomeId, TenantId
from tandem.ports import NewOutcome, OutcomeStore
from tandem.schemas.outcomes import Imported, LabelStatus, LabelVerdict, Outcome, OutcomeImport, OutcomeImports, OutcomeKind, OutcomePage

EXPORT_PAGE: Final = 500
_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
doors = APIRouter(prefix="/v1/router/labels", tags=["labels"])


@doors.get("")
async def list_labels(
    services: UseServices,
    caller: MayAdminister,  # noqa: ARG001 - the caller's scope is what is checked
    status: LabelStatus | None = None,
    kind: OutcomeKind | None = None,
    after: str | None = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> OutcomePage:
    """Outcomes of all tenants' decisions, newest first."""
    cursor = None if after is None else OutcomeId(known_id(after, "out", "outcome", "after"))
    found = await services.dependencies.storage.outcomes.list(status=status, kind=kind, after=cursor, limit=limit + 1)
    outcomes = list(found)[:limit]
    return OutcomePage(data=outcomes, next_after=outcomes[-1].id if len(found) > limit else None)


@doors.post("", status_code=201)
async def import_labels(request: OutcomeImports, services: UseServices, caller: MayAdminister) -> Imported:
    """Keep answers of both lanes that were scored elsewhere, for approval. The same text replaces its scores, so this call can be repeated."""
    needs = services.dependencies
    new = [_imported(needs.ids.outcome(), caller.tenant, row) for row in request.rows]
    await needs.storage.outcomes.add(new)
    needs.metrics.outcomes.labels("answer_scored").inc(len(new))
    return Imported(decision_ids=[each.decision_id for each in new])


@doors.get("/export", response_class=StreamingResponse, responses={200: {"content": {"application/x-ndjson": {}}}})
async def export_labels(services: UseServices, caller: MayAdminister) -> StreamingResponse:  # noqa: ARG001
    """Every approved row as a line of JSON, newest first, as training reads them. Rows whose prompt was not kept have no text."""
    return StreamingResponse(_lines(services.dependencies.storage.outcomes), media_type="application/x-ndjson")


@doors.post("/{outcome_id}")
async def judge_label(outcome_id: str, request: LabelVerdict, services: UseServices, caller: MayAdminister) -> Outcome:  # noqa: ARG001
    """Approve or reject, perhaps with another lane than the row speaks for."""
    known = OutcomeId(known_id(outcome_id, "out", "outcome"))
    return await services.dependencies.storage.outcomes.judge(known, request.status, request.wanted_lane)


async def _lines(store: OutcomeStore) -> AsyncGenerator[bytes]:
    after: OutcomeId | None = None
    while page := await store.list(status="approved", kind=None, after=after, limit=EXPORT_PAGE):
        yield b"".join(each.model_dump_json().encode() + b"\n" for each in page)
        after = OutcomeId(page[-1].id)
        if len(page) < EXPORT_PAGE:
            return


def _imported(outcome_id: OutcomeId, tenant: TenantId, row: OutcomeImport) -> NewOutcome:
    """A row of its own; the slow lane is wanted where its answers were better."""
    return NewOutcome(
        id=outcome_id,
        decision_id=_decision_of(row.text),
        tenant=tenant,
        kind="answer_scored",
        source="collect",
        wanted_lane="slow" if row.slow_score > row.fast_score else "fast",
        fast_score=row.fast_score,
        slow_score=row.slow_score,
        text=row.text,
        comment=row.comment,
    )


def _decision_of(text: str) -> DecisionId:
    """An id made from the text: nobody decided about a collected prompt."""
    number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:17]) >> 6
    return DecisionId("dec_" + "".join(_ALPHABET[number >> shift & 31] for shift in range(125, -1, -5)))
