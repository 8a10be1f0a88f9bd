"""Every bad request has its exact answer, a problem with a pointer to each fault, and stores nothing."""

from __future__ import annotations

import httpx2
import pytest

from tests.unit.web.bad_requests import TABLE, Bad
from tests.unit.web.conftest import World


def test_the_table_is_long_and_its_names_are_unique() -> None:
    assert len(TABLE) >= 80
    assert len({bad.name for bad in TABLE}) == len(TABLE)


@pytest.mark.asyncio
@pytest.mark.parametrize("bad", TABLE, ids=lambda bad: bad.name)
async def test_bad_request(bad: Bad, world: World, client: httpx2.AsyncClient) -> None:
    response = await client.request(bad.method, bad.path, content=bad.body or None, headers=bad.headers)
    answer = response.json()
    assert (response.status_code, answer["code"]) == (bad.status, bad.code), answer
    assert tuple(error["pointer"] for error in answer["errors"]) == bad.pointers, answer
    assert response.headers["content-type"] == "application/problem+json"
    assert answer["type"] == f"/problems/{bad.code}"
    assert answer["status"] == bad.status
    assert answer["request_id"] == response.headers["x-request-id"]
    assert all(error["detail"] for error in answer["errors"])
    assert answer["detail"]
    assert world.store.jobs == {}
