"""API tokens."""

from kube_job_runner.adapters.postgres import rows, statements
from kube_job_runner.adapters.postgres.pool import Pool
from kube_job_runner.ports import Token

SQL = statements.load("tokens")


class PostgresTokenStore:
    """`TokenStore` on PostgreSQL."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def find_token(self, token_hash: bytes) -> Token | None:
        row = await self._pool.fetchrow(SQL["find_token"], token_hash)
        return None if row is None else rows.token(row)

    async def add_token(self, token: Token) -> None:
        await self._pool.execute(
            SQL["add_token"],
            token.token_hash,
            token.name,
            token.prefix,
            token.created_at,
            token.expires_at,
            token.revoked_at,
        )

    async def list_tokens(self) -> list[Token]:
        return [rows.token(row) for row in await self._pool.fetch(SQL["list_tokens"])]

    async def revoke_token(self, name: str) -> int:
        return await self._pool.execute(SQL["revoke_token"], name)
