"""Errors of PostgreSQL, asyncpg and sockets, translated to errors of the domain. Only this module knows SQLSTATEs.

Source: https://www.postgresql.org/docs/current/errcodes-appendix.html
"""

import asyncio
import contextlib
from collections.abc import Iterator

import asyncpg

from kube_job_runner.domain import errors

READ_ONLY = "25006"
NO_RIGHT = "42501"
# Serialization failure, deadlock, internal error (also raised when somebody changes the schema meanwhile): the whole transaction
# may run again at once.
_RETRY = frozenset({"40001", "40P01", "XX000"})
_STALE_PLAN = (asyncpg.InvalidCachedStatementError, asyncpg.OutdatedSchemaCacheError)
"""A prepared statement or a known type is older than the schema. The driver forgets them, and the transaction may run again."""
_POOLER = "unsupported startup parameter"
"""PgBouncer says so, with a SQLSTATE (08P01) that usually means a lost connection."""
_WRONG_SETTINGS = ("28", "3D000")  # authorization; no such database
# Connection, resources (53300: too many connections), operator intervention (57P01: shutdown, 57P03: cannot connect now), I/O
# errors of the server, read-only, sessions that the server ended (25P03, 25P04), a prepared statement that the session lacks.
_UNAVAILABLE = ("08", "53", "57P", "58", READ_ONLY, "25P03", "25P04", "26000")
_TEMPORARY = ("55P03", "57014", "40")  # lock not available, statement timeout or cancelled, rolled back
_NO_SCHEMA = frozenset({"42P01", "42703", "42883"})  # no such table, column, function


def sqlstate(error: BaseException) -> str:
    """Return the SQLSTATE of an error that the server sent, or an empty string."""
    return str(getattr(error, "sqlstate", None) or "")


def retryable(error: BaseException) -> bool:
    """Return whether the whole transaction may run again at once."""
    return isinstance(error, _STALE_PLAN) or sqlstate(error) in _RETRY


def broken(error: BaseException) -> bool:
    """Return whether the connection that raised this error must not be used again."""
    if sqlstate(error) == NO_RIGHT:
        return False
    return sqlstate(error) == READ_ONLY or isinstance(translate(error), errors.DatabaseUnavailable)


def translate(error: BaseException) -> BaseException:
    """Return the error of the domain to raise instead of `error`. An error that is not the database's is returned unchanged."""
    if isinstance(error, errors.KjrError):
        return error
    if isinstance(error, _STALE_PLAN):
        return errors.TemporaryError(f"the schema of the database has just changed: {error}")
    state = sqlstate(error)
    if state:
        return _of_server(error, state)
    if isinstance(error, TimeoutError | asyncio.TimeoutError):
        return errors.DatabaseUnavailable(_NOT_IN_TIME)
    if isinstance(error, asyncpg.DataError | asyncpg.exceptions.ClientConfigurationError):
        return errors.PermanentError(f"the database driver rejected a value: {error}")
    if isinstance(error, OSError | asyncpg.PostgresError | asyncpg.InterfaceError | asyncpg.InternalClientError):
        return errors.DatabaseUnavailable(f"the database does not answer: {str(error) or type(error).__name__}")
    return error


def _of_server(error: BaseException, state: str) -> errors.KjrError:
    said = f"{error} (SQLSTATE {state})"
    if _POOLER in str(error):
        return errors.ConfigurationError(
            f"a pooler refuses the settings of our sessions: {said}; use the address of PostgreSQL itself, or a "
            "pooler with pool_mode=session that ignores this parameter (in PgBouncer: ignore_startup_parameters)"
        )
    if state.startswith(_WRONG_SETTINGS):
        return errors.ConfigurationError(f"the database rejected the connection: {said}; check KJR_DATABASE_URL")
    if state.startswith(_UNAVAILABLE):
        return errors.DatabaseUnavailable(f"the database is not available: {said}")
    if state.startswith(_TEMPORARY):
        return errors.TemporaryError(f"the database interrupted the statement: {said}")
    if state == NO_RIGHT:
        return lacks_right(error, "of KJR_DATABASE_URL")
    if state in _NO_SCHEMA:
        return errors.DatabaseUnavailable(f"the schema does not match this program: {said}; run `kjr migrate`")
    return errors.PermanentError(f"the database rejected the statement: {said}")


def lacks_right(error: BaseException, role: str) -> errors.DatabaseUnavailable:
    """Return what to raise for SQLSTATE 42501. It is temporary: it ends as soon as somebody grants the right."""
    return errors.DatabaseUnavailable(
        f"the database role {role} lacks a right: {error}; run `kjr migrate --roles` as the owner of the tables, and make "
        f"{role} a member of its component's role"
    )


_NOT_IN_TIME = "the database did not answer in time"
_READ_ONLY = "the database is read-only"


def public(error: BaseException) -> str:
    """Return what anybody may read of an error: a sentence of our own, without an address, a name or words of the server.

    `error` is one that `translate` returned.
    """
    state = sqlstate(error.__cause__) if error.__cause__ is not None else sqlstate(error)
    if str(error) in (_NOT_IN_TIME, _READ_ONLY):
        return str(error)
    if state == READ_ONLY:
        return _READ_ONLY
    if state.startswith(_WRONG_SETTINGS):
        return f"the database rejected the connection (SQLSTATE {state})"
    return f"the database is not available (SQLSTATE {state})" if state else "the database does not answer"


def read_only() -> errors.DatabaseUnavailable:
    """Return what to raise when the server takes no writes."""
    return errors.DatabaseUnavailable(_READ_ONLY)


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Translate the errors that the body raises; see `translate`."""
    try:
        yield
    except Exception as error:
        meaning = translate(error)
        if meaning is error:
            raise
        raise meaning from error
