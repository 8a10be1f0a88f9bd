"""The sweeper's batches, tokens, readiness and depth: the small parts of the store."""

from __future__ import annotations

import asyncpg

from kube_job_runner import ports
from kube_job_runner.adapters.postgres import failure, statements
from kube_job_runner.adapters.postgres.migrate import Applied, known, problem, read_applied
from kube_job_runner.adapters.postgres.pool import Connection, Pool
from kube_job_runner.domain.errors import TemporaryError
from kube_job_runner.domain.messages import CONTROL_PRIORITY

_SQL = statements.load("sweep")
_TOKENS_SQL = statements.load("tokens")


class SweepPart:
    """The `SweepStore` port."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def send_due_checks(self, *, limit: int, rearm_seconds: float) -> int:
        """See `ports.SweepStore.send_due_checks`."""
        row = await self._pool.fetchrow(_SQL["send_due_checks"], limit, rearm_seconds, CONTROL_PRIORITY)
        return int(row["sent"]) if row else 0

    async def expire_idempotency_keys(self, *, older_than_seconds: float, limit: int) -> int:
        """See `ports.SweepStore.expire_idempotency_keys`."""
        return await self._pool.execute(_SQL["expire_idempotency_keys"], older_than_seconds, limit)

    async def delete_old_jobs(self, *, older_than_seconds: float, limit: int) -> int:
        """See `ports.SweepStore.delete_old_jobs`; makes the coming months' partitions of the history as well."""

        async def delete(connection: Connection) -> int:
            found = await connection.fetch(_SQL["old_jobs"], older_than_seconds, limit)
            if found:
                await connection.execute(_SQL["delete_jobs"], [row["id"] for row in found])
            return len(found)

        await self._pool.fetch(_SQL["maintain_partitions"])
        return await self._pool.run(delete, transaction=True)


class TokenPart:
    """The `TokenStore` port."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def find_token(self, token_hash: bytes) -> ports.Token | None:
        """See `ports.TokenStore.find_token`."""
        row = await self._pool.fetchrow(_TOKENS_SQL["find_token"], token_hash)
        return None if row is None else _token(row)

    async def add_token(self, token: ports.Token) -> None:
        """See `ports.TokenStore.add_token`."""
        await self._pool.execute(_TOKENS_SQL["add_token"], token.token_hash, token.name, token.prefix, token.expires_at)

    async def list_tokens(self) -> list[ports.Token]:
        """See `ports.TokenStore.list_tokens`."""
        return [_token(row) for row in await self._pool.fetch(_TOKENS_SQL["list_tokens"])]

    async def revoke_token(self, name: str) -> int:
        """See `ports.TokenStore.revoke_token`."""
        return await self._pool.execute(_TOKENS_SQL["revoke_token"], name)


def _token(row: asyncpg.Record) -> ports.Token:
    return ports.Token(
        name=row["name"],
        token_hash=bytes(row["token_hash"]),
        prefix=row["prefix"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        revoked_at=row["revoked_at"],
    )


class HealthPart:
    """The `Health` port."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def check(self) -> dict[str, str | None]:
        """See `ports.Health.check`."""
        try:
            applied = await self._pool.run(_read_applied)
        except TemporaryError as error:
            return {"database": str(error), "schema": "unknown while the database does not answer"}
        return {"database": None, "schema": problem(applied, known())}

    async def depth(self) -> ports.QueueDepth:
        """See `ports.Health.depth`."""
        depth = await self._pool.fetchrow(_SQL["depth"])
        live = await self._pool.fetch(_SQL["live_jobs"])
        assert depth is not None
        return ports.QueueDepth(
            jobs_by_state={row["state"]: row["jobs"] for row in live},
            messages=depth["messages"],
            oldest_message_seconds=max(0.0, depth["oldest_message_seconds"] or 0.0),
            dead_letters=depth["dead_letters"],
        )


async def _read_applied(connection: Connection) -> list[Applied]:
    try:
        return await read_applied(connection)
    except asyncpg.UndefinedTableError:
        return []
    except asyncpg.PostgresError as error:
        raise failure.translate(error) from error
