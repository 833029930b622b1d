"""Every error Tandem raises on purpose, in one tree, grouped by who must act.

    TandemError
    +-- CallerError                    the request must change
    |   +-- InvalidRequest             invalid_request
    |   |   +-- UnknownModel           unknown_model
    |   |   +-- UnknownTool            unknown_tool
    |   |   +-- ToolNotOffered         tool_not_offered
    |   |   +-- InputTooLong           input_too_long
    |   |   +-- PolicyRefused          policy_refused
    |   +-- BodyTooLarge               body_too_large
    |   +-- AuthenticationFailed       authentication_failed
    |   +-- PermissionDenied           permission_denied
    |   +-- NotFound                   not_found
    |   |   +-- CursorExpired          cursor_expired
    |   +-- Conflict                   conflict
    |   |   +-- IdempotencyKeyReused   idempotency_key_reused
    |   |   +-- IdempotencyKeyInFlight idempotency_key_in_flight
    |   |   +-- InputClosed            input_closed
    |   +-- TooManyRequests            too_many_requests
    |   +-- EgressDenied               egress_denied
    +-- ModelError                     the model server must be looked at
    |   +-- ModelUnavailable           model_unavailable
    |   +-- ModelTimeout               model_timeout
    |   +-- ModelBadResponse           model_bad_response
    |   +-- ModelContextExceeded       context_length_exceeded
    +-- ToolError                      the model (or the caller) must call the tool differently
    |   +-- ToolFailed                 tool_failed
    |   +-- SandboxUnavailable         sandbox_unavailable
    +-- OperatorError                  whoever runs Tandem must act
    |   +-- SettingsInvalid            settings_invalid
    |   +-- ModelFileInvalid           model_file_invalid
    |   +-- ModelFetchFailed           model_fetch_failed
    |   +-- RouterArtifactInvalid      router_artifact_invalid
    |   +-- DependencyMissing          dependency_missing
    |   +-- StorageUnavailable         storage_unavailable
    |   |   +-- StorageFull            storage_full
    |   +-- StorageNotMigrated         storage_not_migrated
    |   +-- ProcessFailed              process_failed
    |   +-- GatewayUnreachable         gateway_unreachable
    +-- JobInterrupted                 the job's own course (not a fault)
    |   +-- LeaseLost                  lease_lost
    |   +-- JobCancelled               job_cancelled
    |   +-- BudgetReached              budget_reached
    |   +-- OutcomeUnknown             outcome_unknown
    |   +-- JobFailed                  job_failed
    |   +-- GatewayStopping            gateway_stopping
    +-- InternalError                  internal_error; we must act

A message says what, names the offending value with ``!r`` and gives the remedy. ``code`` is stable: clients branch on it. The HTTP status
of each class is decided in one place, ``gateway/errors.py``. Secrets never enter a message.
"""

from typing import ClassVar


class TandemError(Exception):
    """Root of the tree.

    ``param`` names the offending field of the request, dotted (``budget.max_calls``). ``retry_after_s`` (seconds) is set where waiting helps.
    """

    code: ClassVar[str] = "internal_error"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, param: str | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.retry_after_s = retry_after_s


class CallerError(TandemError):
    """The request must change before it can succeed."""

    code = "invalid_request"


class InvalidRequest(CallerError):
    """A field is missing, unknown, of the wrong type or out of range."""


class UnknownModel(InvalidRequest):
    """The request names a model that is not served."""

    code = "unknown_model"


class UnknownTool(InvalidRequest):
    """The request names a tool that is not offered here."""

    code = "unknown_tool"


class ToolNotOffered(InvalidRequest):
    """The request names a tool that exists and that no live worker offers; the message says why."""

    code = "tool_not_offered"


class InputTooLong(InvalidRequest):
    """A text is longer than the configured limit."""

    code = "input_too_long"


class PolicyRefused(InvalidRequest):
    """Validation has errors about the routing policy that is to be published."""

    code = "policy_refused"


class BodyTooLarge(CallerError):
    """The request body has more bytes than allowed, or is nested too deeply to be read."""

    code = "body_too_large"


class AuthenticationFailed(CallerError):
    """No API key, or one that is unknown, revoked or malformed."""

    code = "authentication_failed"


class PermissionDenied(CallerError):
    """The key is valid but may not do this."""

    code = "permission_denied"


class NotFound(CallerError):
    """The object does not exist, or belongs to another tenant: the two are not told apart."""

    code = "not_found"


class CursorExpired(NotFound):
    """The events after a reader's cursor are no longer kept."""

    code = "cursor_expired"


class Conflict(CallerError):
    """The object's present state does not allow this."""

    code = "conflict"


class IdempotencyKeyReused(Conflict):
    """The same ``Idempotency-Key`` came with another body."""

    code = "idempotency_key_reused"


class IdempotencyKeyInFlight(Conflict):
    """The first request with this ``Idempotency-Key`` is still being answered; ``retry_after_s`` says when to come back."""

    code = "idempotency_key_in_flight"
    retryable = True


class InputClosed(Conflict):
    """The question was answered already, has expired, or its job has ended; what was first stands."""

    code = "input_closed"


class TooManyRequests(CallerError):
    """A limit of the key or of the process is reached; ``retry_after_s`` says when to come back."""

    code = "too_many_requests"
    retryable = True


class EgressDenied(CallerError):
    """The address may not be reached from here; the message never echoes what it resolved to. ``rule`` names the rule that refused, for the log."""

    code = "egress_denied"

    def __init__(self, message: str, *, param: str | None = None, retry_after_s: float | None = None, rule: str = "url") -> None:
        super().__init__(message, param=param, retry_after_s=retry_after_s)
        self.rule = rule


class ModelError(TandemError):
    """A model server failed us; the request itself may be fine."""

    code = "model_unavailable"
    retryable = True


class ModelUnavailable(ModelError):
    """The model server refuses connections or answers 5xx."""


class ModelTimeout(ModelError):
    """The model server did not answer within the configured seconds."""

    code = "model_timeout"


class ModelBadResponse(ModelError):
    """The model server answered something that is not the OpenAI protocol."""

    code = "model_bad_response"


class ModelContextExceeded(ModelError):
    """The prompt does not fit the model's context."""

    code = "context_length_exceeded"
    retryable = False


class ToolError(TandemError):
    """A tool could not do what was asked; the message tells the model what to change."""

    code = "tool_failed"


class ToolFailed(ToolError):
    """The tool ran and failed."""


class SandboxUnavailable(ToolError):
    """No sandbox works on this machine, so code is not run at all."""

    code = "sandbox_unavailable"


class OperatorError(TandemError):
    """Whoever runs Tandem must act."""

    code = "settings_invalid"


class SettingsInvalid(OperatorError):
    """A setting is unknown, malformed or out of range; the message names its key and where it was read."""


class ModelFileInvalid(OperatorError):
    """A model file does not have the pinned hash; it was deleted and never loaded."""

    code = "model_file_invalid"


class ModelFetchFailed(OperatorError):
    """No source of the catalogue yielded the model."""

    code = "model_fetch_failed"


class RouterArtifactInvalid(OperatorError):
    """A scoring artefact of the router is missing, damaged, altered, or made for other features."""

    code = "router_artifact_invalid"


class DependencyMissing(OperatorError):
    """An optional dependency is not installed; the message names the extra to install."""

    code = "dependency_missing"


class StorageUnavailable(OperatorError):
    """The database cannot be reached or cannot commit."""

    code = "storage_unavailable"
    retryable = True


class StorageFull(StorageUnavailable):
    """The database's disk is full; nothing was stored."""

    code = "storage_full"


class StorageNotMigrated(OperatorError):
    """The database has another schema version than this code."""

    code = "storage_not_migrated"


class ProcessFailed(OperatorError):
    """A supervised process does not start or keeps dying."""

    code = "process_failed"


class GatewayUnreachable(OperatorError):
    """Nothing answers at the gateway's address, it went silent, or what answers is not a gateway."""

    code = "gateway_unreachable"
    retryable = True


class JobInterrupted(TandemError):
    """A job's run stops here for a reason that is not a fault."""

    code = "job_cancelled"


class LeaseLost(JobInterrupted):
    """Another worker owns the job now (its epoch is newer); this run must stop writing."""

    code = "lease_lost"


class JobCancelled(JobInterrupted):
    """Somebody asked for the job to be cancelled."""


class BudgetReached(JobInterrupted):
    """The next call would exceed the job's budget."""

    code = "budget_reached"


class OutcomeUnknown(JobInterrupted):
    """A worker died between calling something that writes and recording what it answered; whether it happened is unknown, so it is not repeated."""

    code = "outcome_unknown"


class JobFailed(JobInterrupted):
    """The job behind a chat request ended without an answer; asking again would make another job."""

    code = "job_failed"


class GatewayStopping(JobInterrupted):
    """The gateway is being stopped while somebody waits on a job; the job goes on."""

    code = "gateway_stopping"


class InternalError(TandemError):
    """A defect of ours."""
