"""What is known of the watches, in PostgreSQL: small rows that any number of watchers join, and that a processor reads."""

from __future__ import annotations

import asyncio
import datetime as dt

import pytest

from kube_job_runner.adapters import postgres
from kube_job_runner.domain.freshness import Freshness, Watched, WatchReport
from tests.support.postgres import execute, fetch

pytestmark = pytest.mark.asyncio


def report(known: float, *, began: float = 3600, namespace: str = "ns", **more: object) -> WatchReport:
    return WatchReport(namespace=namespace, began=began, known=known, **more)  # type: ignore[arg-type]


async def read(pg: postgres.Postgres) -> Freshness:
    return await pg.watch_reader.watches()


async def dark_seconds(pg: postgres.Postgres, *, since: float = 7200) -> float:
    now = dt.datetime.now(dt.UTC)
    return (await read(pg)).dark_seconds("ns", now - dt.timedelta(seconds=since), now)


async def test_reports_are_kept_by_kind_and_namespace(pg: postgres.Postgres) -> None:
    assert (await read(pg)).watches == {}
    await pg.observe_store.record_watches("pod", [report(5), report(8, namespace="other")])
    await pg.observe_store.record_watches("job", [report(1, broken=True)])
    found = (await read(pg)).watches
    assert set(found) == {("pod", "ns"), ("pod", "other"), ("job", "ns")}
    assert found["job", "ns"].broken
    age = dt.datetime.now(dt.UTC) - found["pod", "ns"].known_until
    assert 4 < age.total_seconds() < 15


async def test_dark_times_are_kept_and_the_time_after_the_last_report_is_dark(pg: postgres.Postgres) -> None:
    await pg.observe_store.record_watches("pod", [report(1000)])
    await pg.observe_store.record_watches("pod", [report(2, dark=((900.0, 896.0),))])
    assert await dark_seconds(pg) == pytest.approx(4, abs=0.5)
    await pg.observe_store.record_watches("pod", [report(2, dark=((900.0, 896.0),))])
    assert await dark_seconds(pg) == pytest.approx(4, abs=0.5), "a repeated report changes nothing"
    await execute_ago(pg, 600)
    assert await dark_seconds(pg) == pytest.approx(604, abs=5), "its watcher is gone"


async def execute_ago(pg: postgres.Postgres, seconds: float) -> None:
    await pg.pool.execute("UPDATE watches SET known_until = known_until - make_interval(secs => $1)", seconds)


async def test_a_watcher_that_came_back_tells_that_it_was_away(pg: postgres.Postgres) -> None:
    await pg.observe_store.record_watches("pod", [report(500)])
    await pg.observe_store.record_watches("pod", [report(1, began=100)])
    assert await dark_seconds(pg) == pytest.approx(400 + 15, abs=5)


async def test_watchers_at_once_lose_no_report(pg: postgres.Postgres) -> None:
    await pg.observe_store.record_watches("pod", [report(1000)])
    ages = range(900, 0, -30)
    await asyncio.gather(*(pg.observe_store.record_watches("pod", [report(float(age))]) for age in ages))
    [watch] = (await read(pg)).watches.values()
    assert isinstance(watch, Watched)
    assert (dt.datetime.now(dt.UTC) - watch.known_until).total_seconds() < 60
    assert watch.dark == ()


async def test_there_is_one_small_row_for_a_watch(pg: postgres.Postgres, database_url: str) -> None:
    for flap in range(200):
        dark = tuple((3000.0 - 10 * number, 2999.0 - 10 * number) for number in range(max(0, flap - 60), flap))
        await pg.observe_store.record_watches("pod", [report(2990.0 - 10 * flap, dark=dark)])
    [row] = await fetch(database_url, "SELECT count(*) AS rows, max(pg_column_size(dark)) AS size FROM watches")
    assert row["rows"] == 1
    assert row["size"] < 8000
    await execute(database_url, "DELETE FROM watches")
