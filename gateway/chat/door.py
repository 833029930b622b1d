"""``POST /v1/chat/completions`` without a framework: who, how many, what, which lane; then the lane answers and the records are written.

The order is that of cost: a stranger's body is never read, a request beyond the cap is never routed.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass

from gateway.asgi import Receive, Scope, Send, header, send_whole
from gateway.auth import Authenticator
from gateway.chat.call import PATH, Call, Disconnected, Notes, watch_client
from gateway.chat.checked import CheckedLane
from gateway.chat.fast import answer_fast, error_frame
from gateway.chat.request import ChatBody, lane_choice, read_chat
from gateway.chat.slow import SlowLane
from gateway.chat.upstream import Transport
from gateway.conversations import fits
from gateway.errors import error_answer
from gateway.limits import ClientGone, InFlight, read_body
from gateway.records import Finished, Recorder
from gateway.routing import Routing
from tandem.errors import InternalError, TandemError
from tandem.schemas.routing import LaneChoice
from tandem.settings import GatewaySettings
from tandem.telemetry import get_logger

__all__ = ["PATH", "ChatDoor"]
_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ChatDoor:
    """The hot path, as an ASGI callable for this one path."""

    settings: GatewaySettings
    authenticator: Authenticator
    in_flight: InFlight
    routing: Routing
    recorder: Recorder
    served: Mapping[str, LaneChoice]
    """Model names a caller may use, and the lane each one means."""
    fast_model: str
    """Name the fast model's server knows it by."""
    context_tokens: int
    """Of the fast model."""
    transport: Transport
    slow: SlowLane
    checked: CheckedLane

    async def __call__(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        notes = Notes(request_id, time.monotonic())
        try:
            await self._let_in(scope, receive, send, notes)
        except TandemError as error:
            await self._refuse(send, notes, error)
        except (ClientGone, Disconnected):
            notes.error_code = "client_closed"
        except Exception:  # noqa: BLE001 - the process boundary: whatever broke is logged with its traceback and answered in the one shape
            _log.exception("request_failed", door="chat", request_id=request_id)
            await self._refuse(send, notes, InternalError("unexpected"))
        finally:
            self._record(notes)

    async def _let_in(self, scope: Scope, receive: Receive, send: Send, notes: Notes) -> None:
        principal = notes.principal = await self.authenticator.authenticate(header(scope, b"authorization"))
        principal.require("chat")
        with self.in_flight.slot():
            raw = await read_body(scope, receive, self.settings.max_body_bytes)
            body = read_chat(raw, max_depth=self.settings.max_depth, max_input_chars=self.settings.max_input_chars)
            turns = body.turns(self._choice(body))
            fits_fast = fits([message.text() for message in body.messages], self.context_tokens)
            decision_id, decision = await self.routing.decide_stateless(turns, principal.tenant, "chat", principal.key_id, fits_fast=fits_fast)
            notes.lane, notes.is_stream = decision.lane, bool(body.stream)
            call = Call(raw, body, principal, decision_id, decision, notes, receive, send, scope["headers"])
            with watch_client(receive):
                if decision.band == "check" and body.is_checkable():
                    await self.checked.answer(call)
                elif decision.lane == "fast":
                    await answer_fast(call, self.transport, self.fast_model)
                else:
                    await self.slow.answer(call)

    def _choice(self, body: ChatBody) -> LaneChoice:
        """The lane the model name asks for; what only a model server can honour keeps ``auto`` in the fast lane."""
        choice = lane_choice(body.model, self.served)
        return "fast" if choice == "auto" and body.fast_only() else choice

    async def _refuse(self, send: Send, notes: Notes, error: TandemError) -> None:
        notes.error_code = error.code
        if notes.has_started:
            if notes.is_stream:
                await send({"type": "http.response.body", "body": b"\n\n" + error_frame(error), "more_body": False})
            return
        status, headers, body = error_answer(error)
        notes.status = status
        await send_whole(send, status, [*headers, (b"x-request-id", notes.request_id.encode())], body)

    def _record(self, notes: Notes) -> None:
        self.recorder.finish(
            Finished(
                door="chat",
                method="POST",
                status=notes.status,
                seconds=time.monotonic() - notes.started,
                request_id=notes.request_id,
                tenant=notes.principal.tenant if notes.principal else None,
                lane=notes.lane,
                ttft_s=notes.ttft_s,
                error_code=notes.error_code,
            )
        )
