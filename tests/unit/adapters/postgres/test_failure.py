"""What an error of PostgreSQL means: what happens between two servers, or beside a change of the schema, is temporary."""

from __future__ import annotations

import asyncpg
import pytest

from kube_job_runner.adapters.postgres import failure
from kube_job_runner.domain.errors import DatabaseUnavailable, PermanentError, TemporaryError

TEMPORARY = {
    "40001": "serialization failure",
    "40P01": "deadlock detected",
    "55P03": "lock not available",
    "57014": "query canceled",
}
UNAVAILABLE = {
    "08006": "connection failure",
    "25006": "read only sql transaction",
    "25P03": "idle in transaction session timeout",
    "25P04": "transaction timeout",
    "26000": "invalid sql statement name",
    "53300": "too many connections",
    "57P01": "admin shutdown",
    "57P02": "crash shutdown",
    "57P03": "cannot connect now",
    "58030": "io error",
}
AGAIN = {"40001", "40P01", "XX000"}


def error_of(state: str) -> asyncpg.PostgresError:
    made = asyncpg.PostgresError.new({"C": state, "M": "why"})
    assert isinstance(made, asyncpg.PostgresError)
    return made


@pytest.mark.parametrize("state", [*TEMPORARY, *UNAVAILABLE])
def test_it_is_temporary(state: str) -> None:
    meaning = failure.translate(error_of(state))
    assert isinstance(meaning, DatabaseUnavailable if state in UNAVAILABLE else TemporaryError)
    assert state in str(meaning)
    assert failure.retryable(error_of(state)) == (state in AGAIN)
    assert failure.broken(error_of(state)) == (state in UNAVAILABLE)


def test_a_plan_older_than_the_schema_runs_again() -> None:
    stale = asyncpg.PostgresError.new(
        {"C": "0A000", "M": "cached plan must not change result type", "R": "RevalidateCachedQuery"}
    )
    assert failure.retryable(stale)
    assert type(failure.translate(stale)) is TemporaryError
    assert not failure.broken(stale)


@pytest.mark.parametrize("state", ["0A000", "22021", "23505", "XX000"])
def test_a_rejected_statement_is_permanent(state: str) -> None:
    assert type(failure.translate(error_of(state))) is PermanentError
