"""The table from driver errors to verdicts."""

import sqlite3

import pytest
from sqlalchemy.exc import DBAPIError, InvalidRequestError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from tandem.errors import StorageFull, StorageNotMigrated, StorageUnavailable
from tandem.storage.failures import Verdict, judge, translate


def sqlite_error(code: int, words: str = "words") -> DBAPIError:
    cause = sqlite3.OperationalError(words)
    cause.sqlite_errorcode = code
    return DBAPIError("SELECT secret", {"p": "secret"}, cause)


def postgresql_error(state: str, *, is_disconnect: bool = False) -> DBAPIError:
    cause = Exception("words")
    vars(cause)["sqlstate"] = state
    return DBAPIError("SELECT secret", {"p": "secret"}, cause, connection_invalidated=is_disconnect)


@pytest.mark.parametrize(
    ("code", "verdict"),
    [
        (sqlite3.SQLITE_BUSY, Verdict.ROLLED_BACK),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, Verdict.ROLLED_BACK),
        (sqlite3.SQLITE_FULL, Verdict.FULL),
        (sqlite3.SQLITE_READONLY, Verdict.UNAVAILABLE),
        (sqlite3.SQLITE_IOERR_WRITE, Verdict.UNAVAILABLE),
        (sqlite3.SQLITE_CONSTRAINT_UNIQUE, Verdict.DEFECT),
    ],
)
def test_sqlite_codes_are_judged_by_their_primary_code(code: int, verdict: Verdict) -> None:
    assert judge(sqlite_error(code)) is verdict


@pytest.mark.parametrize(
    ("state", "verdict"),
    [
        ("40001", Verdict.ROLLED_BACK),
        ("40P01", Verdict.ROLLED_BACK),
        ("42P01", Verdict.NOT_MIGRATED),
        ("57P01", Verdict.DISCONNECTED),
        ("57014", Verdict.UNAVAILABLE),
        ("53100", Verdict.FULL),
        ("53300", Verdict.UNAVAILABLE),
        ("23505", Verdict.DEFECT),
    ],
)
def test_postgresql_states_are_judged_by_their_longest_match(state: str, verdict: Verdict) -> None:
    assert judge(postgresql_error(state)) is verdict


def test_errors_outside_the_database_are_judged_by_type() -> None:
    assert judge(PoolTimeout()) is Verdict.UNAVAILABLE
    assert judge(ConnectionRefusedError()) is Verdict.DISCONNECTED
    assert judge(TimeoutError()) is Verdict.DISCONNECTED
    assert judge(InvalidRequestError()) is Verdict.DEFECT
    assert judge(postgresql_error("", is_disconnect=True)) is Verdict.DISCONNECTED


def test_a_missing_sqlite_table_means_not_migrated() -> None:
    error = sqlite_error(sqlite3.SQLITE_ERROR, "no such table: jobs")
    assert judge(error) is Verdict.NOT_MIGRATED
    assert isinstance(translate(error, Verdict.NOT_MIGRATED), StorageNotMigrated)


def test_a_translated_error_names_the_cause_and_no_parameters() -> None:
    translated = translate(sqlite_error(sqlite3.SQLITE_FULL, "database or disk is full"), Verdict.FULL)
    assert isinstance(translated, StorageFull)
    assert "OperationalError: database or disk is full" in str(translated)
    assert "secret" not in str(translated)


def test_a_database_that_cannot_write_is_unavailable_and_not_full() -> None:
    translated = translate(sqlite_error(sqlite3.SQLITE_IOERR_WRITE, "disk I/O error"), Verdict.UNAVAILABLE)
    assert isinstance(translated, StorageUnavailable)
    assert not isinstance(translated, StorageFull)


def test_a_defect_is_not_translated() -> None:
    assert translate(postgresql_error("23505"), Verdict.DEFECT) is None
