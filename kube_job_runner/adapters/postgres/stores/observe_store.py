"""What the watchers read and write: the cluster jobs that a list is compared with, and until when everything is known."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from kube_job_runner.adapters.postgres import statements
from kube_job_runner.adapters.postgres.pool import Connection, Pool
from kube_job_runner.adapters.postgres.stores.bound_cluster import PostgresBoundCluster
from kube_job_runner.domain.freshness import Ages, Freshness, Watched, WatchReport, joined
from kube_job_runner.ports import KnownClusterJob, KnownPod

SQL = statements.load("observe")

_dark = msgspec.json.Decoder(list[Ages])


class PostgresObserveStore(PostgresBoundCluster):
    """`ObserveStore` on PostgreSQL."""

    async def known_cluster_jobs(self) -> list[KnownClusterJob]:
        return [KnownClusterJob(**row) for row in await self._pool.fetch(SQL["known_cluster_jobs"])]

    async def known_pods(self) -> list[KnownPod]:
        return [KnownPod(**row) for row in await self._pool.fetch(SQL["known_pods"])]

    async def record_watches(self, kind: str, reports: Sequence[WatchReport]) -> None:
        async def work(connection: Connection) -> None:
            found = await connection.fetch(SQL["lock_watches"], kind)
            known = {row["namespace"]: _watched(row) for row in found if row["namespace"] is not None}
            now: datetime = found[0]["now"]
            changed = [joined(known.get(each.namespace), each, kind=kind, now=now) for each in reports]
            changed = [each for each in changed if each != known.get(each.namespace)]
            if changed:
                await connection.execute(SQL["put_watches"], *_parameters(changed))

        await self._pool.run(work, transaction=True)


class PostgresWatchReader:
    """`WatchReader` on PostgreSQL."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def watches(self) -> Freshness:
        found = [_watched(row) for row in await self._pool.fetch(SQL["watches"])]
        return Freshness({(watch.kind, watch.namespace): watch for watch in found})


def _watched(row: Any) -> Watched:
    def at(seconds: float) -> datetime:
        return datetime.fromtimestamp(seconds, UTC)

    return Watched(
        kind=row["kind"],
        namespace=row["namespace"],
        known_until=row["known_until"],
        reported_at=row["reported_at"],
        broken=row["broken"],
        dark=tuple((at(begin), at(end)) for begin, end in _dark.decode(row["dark"])),
    )


def _parameters(watches: Sequence[Watched]) -> list[list[Any]]:
    def pairs(watch: Watched) -> str:
        return msgspec.json.encode([(begin.timestamp(), end.timestamp()) for begin, end in watch.dark]).decode()

    return [
        [watch.kind for watch in watches],
        [watch.namespace for watch in watches],
        [watch.known_until for watch in watches],
        [watch.reported_at for watch in watches],
        [watch.broken for watch in watches],
        [pairs(watch) for watch in watches],
    ]
