"""What a driver's error means: the one table from driver errors to a verdict and to Tandem's errors."""

from enum import StrEnum
from typing import Final

from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from tandem.errors import StorageFull, StorageNotMigrated, StorageUnavailable, TandemError

DRIVER_ERRORS: Final = (SQLAlchemyError, OSError, TimeoutError)
"""What may leave SQLAlchemy: its own errors, and a socket's while a connection is being made."""
_FULL_RETRY_S: Final = 60.0
"""When to come back to a full disk: somebody has to make room first."""


class Verdict(StrEnum):
    """What a failed transaction allows."""

    ROLLED_BACK = "rolled_back"
    """Surely undone by the database (a lock, a deadlock, a serialization failure): repeat it."""
    DISCONNECTED = "disconnected"
    """The connection is gone: repeat it unless the commit had been sent."""
    UNAVAILABLE = "unavailable"
    FULL = "full"
    """No room on the database's disk; the transaction is undone."""
    NOT_MIGRATED = "not_migrated"
    DEFECT = "defect"
    """Our own statement is wrong; the error goes up unchanged."""


# Primary result codes of SQLite (the low byte of ``sqlite_errorcode``), https://sqlite.org/rescode.html
_SQLITE: Final = {
    5: Verdict.ROLLED_BACK,  # busy
    6: Verdict.ROLLED_BACK,  # locked
    8: Verdict.UNAVAILABLE,  # read-only
    10: Verdict.UNAVAILABLE,  # I/O error
    11: Verdict.UNAVAILABLE,  # corrupt
    13: Verdict.FULL,
    14: Verdict.UNAVAILABLE,  # cannot open
    26: Verdict.UNAVAILABLE,  # not a database
}
# Classes and codes of PostgreSQL's SQLSTATE, the longest match wins, https://www.postgresql.org/docs/current/errcodes-appendix.html
_SQLSTATE: Final = {
    "40": Verdict.ROLLED_BACK,  # serialization failure, deadlock
    "55P03": Verdict.ROLLED_BACK,  # lock not available
    "42P01": Verdict.NOT_MIGRATED,  # undefined table
    "42703": Verdict.NOT_MIGRATED,  # undefined column
    "08": Verdict.DISCONNECTED,
    "57P": Verdict.DISCONNECTED,  # shut down, crashed, cannot connect now, terminated
    "25P03": Verdict.DISCONNECTED,  # idle in transaction for too long
    "57014": Verdict.UNAVAILABLE,  # statement timeout
    "28": Verdict.UNAVAILABLE,  # authorization
    "3D": Verdict.UNAVAILABLE,  # no such database
    "53100": Verdict.FULL,
    "53": Verdict.UNAVAILABLE,  # out of connections or memory
    "58": Verdict.UNAVAILABLE,  # system error
    "XX": Verdict.UNAVAILABLE,  # internal error, corruption
}
_MISSING_IN_SQLITE: Final = ("no such table", "no such column", "has no column named")


def judge(error: BaseException) -> Verdict:
    """The verdict on an error of ``DRIVER_ERRORS``."""
    if isinstance(error, PoolTimeout):
        return Verdict.UNAVAILABLE
    if not isinstance(error, DBAPIError):
        return Verdict.DISCONNECTED if isinstance(error, OSError | TimeoutError) else Verdict.DEFECT
    cause = error.orig
    if (verdict := _by_code(cause)) is not None:
        return verdict
    if error.connection_invalidated or isinstance(cause, OSError):
        return Verdict.DISCONNECTED
    return Verdict.NOT_MIGRATED if any(words in str(cause) for words in _MISSING_IN_SQLITE) else Verdict.DEFECT


def translate(error: BaseException, verdict: Verdict) -> TandemError | None:
    """The error to raise instead; None for a defect, which goes up unchanged."""
    match verdict:
        case Verdict.DEFECT:
            return None
        case Verdict.NOT_MIGRATED:
            return StorageNotMigrated("the database lacks tables of this version; start Tandem with `tandem up`, which migrates it")
        case Verdict.FULL:
            message = f"the database's disk is full ({_words(error)}) and nothing was stored; make room, or let `retention` forget ended jobs sooner"
            return StorageFull(message, retry_after_s=_FULL_RETRY_S)
        case _:
            return StorageUnavailable(f"the database cannot serve ({_words(error)}); check that it runs and may be written", retry_after_s=1.0)


def _by_code(cause: BaseException | None) -> Verdict | None:
    code: object = getattr(cause, "sqlite_errorcode", None)
    if isinstance(code, int):
        return _SQLITE.get(code & 0xFF)
    state: object = getattr(cause, "sqlstate", None)
    if not isinstance(state, str):
        return None
    return next((_SQLSTATE[state[:length]] for length in (5, 3, 2) if state[:length] in _SQLSTATE), None)


def _words(error: BaseException) -> str:
    """Kind and first line of the driver's own words; statements and parameters stay out."""
    cause: BaseException = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    lines = str(cause).splitlines()
    return f"{type(cause).__name__}: {lines[0]}" if lines else type(cause).__name__
