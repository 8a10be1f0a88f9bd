"""The database's clock: it dates jobs, whatever the clock of the machine says."""

from __future__ import annotations

import asyncio
import datetime as dt

import pytest

from kube_job_runner.adapters import postgres
from kube_job_runner.adapters.postgres import database_clock as clocks
from kube_job_runner.domain.errors import DatabaseUnavailable

pytestmark = pytest.mark.asyncio
TEN_MINUTES = dt.timedelta(minutes=10)


class WrongTime:
    """A machine's clock that is ten minutes ahead."""

    @staticmethod
    def now(tz: dt.tzinfo) -> dt.datetime:
        return dt.datetime.now(tz) + TEN_MINUTES


async def database_time(pg: postgres.Postgres) -> dt.datetime:
    row = await pg.pool.fetchrow("SELECT clock_timestamp() AS now")
    assert row is not None
    found: dt.datetime = row["now"]
    return found


async def test_a_wrong_clock_of_the_machine_counts_only_until_the_database_was_asked(
    pg: postgres.Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clocks, "datetime", WrongTime)
    clock = pg.clock()
    assert clock.now() - await database_time(pg) > TEN_MINUTES / 2
    await clock.sync()
    assert abs(await database_time(pg) - clock.now()) < dt.timedelta(seconds=1)


async def test_it_goes_on_while_the_database_is_away(pg: postgres.Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = pg.clock()
    await clock.sync()
    began = clock.now()

    async def away(*_: object) -> None:
        raise DatabaseUnavailable("away")

    monkeypatch.setattr(pg.pool, "fetchrow", away)
    with pytest.raises(DatabaseUnavailable):
        await clock.sync()
    await asyncio.sleep(0.05)
    assert dt.timedelta(seconds=0.04) < clock.now() - began < dt.timedelta(seconds=5)
