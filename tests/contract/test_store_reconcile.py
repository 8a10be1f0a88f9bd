"""`InstallationStore`: one identity for each database, the same for all who ask."""

from __future__ import annotations

import uuid

import pytest

from kube_job_runner.adapters.postgres import Postgres
from kube_job_runner.domain.errors import ConfigurationError
from tests.support.postgres import execute

pytestmark = pytest.mark.asyncio


async def test_an_installation_has_one_id_for_ever(pg: Postgres, database_url: str) -> None:
    first = await pg.store.installation_id()
    assert str(uuid.UUID(first)) == first
    assert await pg.store.installation_id() == first
    with pytest.raises(Exception, match="duplicate key"):
        await execute(database_url, "INSERT INTO installation DEFAULT VALUES")


async def test_an_installation_without_an_id_says_how_to_make_one(pg: Postgres, database_url: str) -> None:
    await execute(database_url, "DELETE FROM installation")
    with pytest.raises(ConfigurationError, match="INSERT INTO installation"):
        await pg.store.installation_id()
