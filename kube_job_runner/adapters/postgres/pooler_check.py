"""Refuses a transaction pooler: a proxy such as PgBouncer that gives each transaction of a connection another session.

Hints, leases and prepared statements belong to a session. Behind such a pooler they fail or, worse, seem to work. A session
pooler works.
"""

import asyncio
import contextlib

from kube_job_runner.adapters.postgres.direct_connections import Direct, connected
from kube_job_runner.domain.errors import ConfigurationError, TemporaryError

_NAME = "kjr pooler check"
_ROUNDS = 3
_SECOND_SECONDS = 5.0

REFUSED = (
    "KJR_DATABASE_URL leads to a transaction pooler, as PgBouncer with pool_mode=transaction: kube-job-runner needs a session "
    "for each connection; use the address of PostgreSQL itself, or pool_mode=session"
)


async def check(url: str) -> None:
    """Ask two connections in turn which session of the server they have. Each must keep its own.

    Where a second connection is not to be had, nothing is found out.

    Raises:
        ConfigurationError: they share sessions, or one of them changes it.
        DatabaseUnavailable: the database does not answer.
    """
    async with connected(url, name=_NAME, statement_cache_size=0) as first:
        with contextlib.suppress(TemporaryError, TimeoutError):
            async with (
                asyncio.timeout(_SECOND_SECONDS),
                connected(url, name=_NAME, statement_cache_size=0) as second,
            ):
                firsts, seconds = set(), set()
                for _ in range(_ROUNDS):
                    firsts.add(await _session(first))
                    seconds.add(await _session(second))
                if len(firsts) > 1 or len(seconds) > 1 or firsts & seconds:
                    raise ConfigurationError(REFUSED)


async def _session(connection: Direct) -> int:
    """Return the process id of the session that a transaction of this connection runs in."""
    async with connection.transaction():
        return int(await connection.fetchval("SELECT pg_backend_pid()"))
