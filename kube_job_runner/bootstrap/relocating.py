"""Moves a database to another cluster, for `kjr rebind`: ends what is in the old cluster, then binds the new one."""

import uuid

import msgspec

from kube_job_runner import ports
from kube_job_runner.adapters import postgres
from kube_job_runner.bootstrap.adapter_kinds import cluster_kind
from kube_job_runner.bootstrap.builders import SystemClock
from kube_job_runner.domain.decide import relocation
from kube_job_runner.domain.decide.ruleset import Rules
from kube_job_runner.domain.errors import ConfigurationError, WrongCluster
from kube_job_runner.ports import ClusterIdentity
from kube_job_runner.services import cluster_identity
from kube_job_runner.settings import Settings

_PAGE_JOBS = 200
_TRIES = 5


class Move(msgspec.Struct, frozen=True, kw_only=True):
    """What `kjr rebind` would do. `live` jobs may be in the old cluster; `waiting` jobs were never created there."""

    bound: list[ClusterIdentity]
    found: ClusterIdentity
    live: int
    waiting: int

    @property
    def needed(self) -> bool:
        """Whether the settings lead to another cluster than the one that the database belongs to."""
        try:
            cluster_identity.compare(self.found, self.bound)
        except WrongCluster:
            return True
        return False


async def plan(settings: Settings, pg: postgres.Postgres) -> Move:
    """Return what a move to the cluster of the settings would do. Nothing is changed.

    Raises:
        ConfigurationError: the cluster cannot be identified, or its settings are wrong.
        TemporaryError: the cluster or the database does not answer.
    """
    cluster = await cluster_kind(settings).open(settings, SystemClock(), await pg.reconcile_store.installation_id())
    try:
        found = await cluster.identity()
    finally:
        await cluster.close()
    if found is None:
        raise ConfigurationError("the cluster cannot be identified: grant `get` on the namespace kube-system")
    live, waiting = await pg.bound_cluster.count_live()
    return Move(bound=await pg.bound_cluster.bound_clusters(), found=found, live=live, waiting=waiting)


async def accept(pg: postgres.Postgres, move: Move) -> int:
    """Carry out a move; return how many jobs were ended. All components must be stopped. It may be repeated.

    Raises:
        TemporaryError: the database does not answer, or a component still changes jobs.
    """
    place = str(move.bound[0]) if move.bound else "old cluster"
    ended = await _end_all(pg, place)
    await pg.bound_cluster.accept_cluster(move.found)
    return ended


async def _end_all(pg: postgres.Postgres, place: str) -> int:
    ended, after = 0, uuid.UUID(int=0)
    while page := await pg.bound_cluster.in_cluster(after=after, limit=_PAGE_JOBS):
        after = page[-1]
        for _ in range(_TRIES):
            snapshot = await pg.process_store.load(page)
            changes = [change for loaded in snapshot.jobs.values() if (change := _change(loaded, snapshot, place))]
            applied = await pg.process_store.commit(changes, receipts={})
            ended += sum(
                change.job.terminal and bool(change.transitions) for change in changes if change.job.id in applied
            )
            page = [change.job.id for change in changes if change.job.id not in applied]
            if not page:
                break
    return ended


def _change(loaded: ports.LoadedJob, snapshot: ports.Snapshot, place: str) -> ports.Change | None:
    decision = relocation.left_behind(loaded.job, loaded.attempts, place=place, now=snapshot.now, rules=Rules())
    if decision is None:
        return None
    return ports.Change(
        expected_version=loaded.job.version,
        job=decision.job,
        attempts=decision.attempts,
        transitions=decision.transitions,
        anomalies=decision.anomalies,
        messages=decision.messages,
    )
