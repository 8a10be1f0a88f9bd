"""`TokenStore`: tokens are found by their hash, until they are revoked or expire."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from kube_job_runner.adapters.postgres import Postgres
from kube_job_runner.ports import Token

pytestmark = pytest.mark.asyncio
NOW = datetime.now(UTC).replace(microsecond=0)
PAST, FUTURE = NOW - timedelta(hours=1), NOW + timedelta(hours=1)


async def test_tokens_are_found_by_their_hash_until_revoked_or_expired(pg: Postgres) -> None:
    tokens = [
        Token(name="ci", token_hash=b"1" * 32, prefix="kjr_1", created_at=PAST),
        Token(name="ci", token_hash=b"2" * 32, prefix="kjr_2", expires_at=FUTURE),
        Token(name="old", token_hash=b"3" * 32, prefix="kjr_3", created_at=PAST - timedelta(days=1), expires_at=PAST),
        Token(name="dead", token_hash=b"4" * 32, prefix="kjr_4", created_at=PAST, revoked_at=PAST),
    ]
    for token in tokens:
        await pg.token_store.add_token(token)
    await pg.token_store.add_token(Token(name="ci", token_hash=b"1" * 32, prefix="other"))
    assert await pg.token_store.find_token(b"1" * 32) == tokens[0]
    found = await pg.token_store.find_token(b"2" * 32)
    assert found is not None
    assert found.created_at is not None
    for unusable in (b"3" * 32, b"4" * 32, b"5" * 32, b""):
        assert await pg.token_store.find_token(unusable) is None
    assert [token.prefix for token in await pg.token_store.list_tokens()] == ["kjr_2", "kjr_1", "kjr_4", "kjr_3"]
    assert await pg.token_store.revoke_token("ci") == 2
    assert await pg.token_store.revoke_token("ci") == 0
    assert await pg.token_store.find_token(b"1" * 32) is None
