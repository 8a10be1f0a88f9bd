"""Compares the store with the cluster, in both directions: what is left in the cluster, and what is missing from it.

An *orphan* is a Job or a pod that was made for this database and that no row claims. A *zombie* is a row whose cluster job is
gone. The watches usually find both; this finds what happened while no watch ran. It deletes, so it is careful:
it deletes by uid, a limited number in one round, only what carries our own installation's id, only after a grace period,
and only when the rows still say so right before. Two rounds at once do no harm.
"""

from collections.abc import Mapping
from datetime import timedelta
from uuid import UUID

import msgspec

from kube_job_runner import ports
from kube_job_runner.domain.errors import TemporaryError
from kube_job_runner.domain.facts import JobFacts, PodFacts
from kube_job_runner.domain.messages import Observed, Outgoing
from kube_job_runner.services.cluster_identity import IdentityCheck
from kube_job_runner.settings.groups import SweepSettings
from kube_job_runner.telemetry import loggers, metrics

log = loggers.get_logger(__name__)

PAGE_ROWS = 1000
MOST_DELETES = 50
MOST_SUSPECTS = 1000
MOST_ZOMBIES = 200
_NOBODY = UUID(int=0)


class Found(msgspec.Struct, kw_only=True):
    """What one round found and did. `foreign` objects carry our instance's name, but another installation's id, or none."""

    orphan_jobs: int = 0
    orphan_pods: int = 0
    zombies: int = 0
    foreign: int = 0
    failed: int = 0


class _Round(msgspec.Struct, kw_only=True):
    """One comparison: what the rows hold and no list has shown yet, and what the lists show and no row holds."""

    known: Mapping[str, ports.RecordedClusterJob]
    missing: dict[str, ports.RecordedClusterJob]
    listed_jobs: set[str] = msgspec.field(default_factory=set)
    listed_pods: set[str] = msgspec.field(default_factory=set)
    suspects: list[ports.OwnedObject] = msgspec.field(default_factory=list)
    unlisted: set[str | None] = msgspec.field(default_factory=set)
    found: Found = msgspec.field(default_factory=Found)


class Reconciler:
    """Finds orphans and removes them, finds zombies and reports them."""

    def __init__(
        self,
        *,
        store: ports.ReconcileStore,
        cluster: ports.ClusterInventory,
        queue: ports.Sender,
        clock: ports.Clock,
        settings: SweepSettings,
    ) -> None:
        self._store = store
        self._cluster = cluster
        self._queue = queue
        self._clock = clock
        self._settings = settings
        self._identity = IdentityCheck(cluster, store, clock)

    async def run_once(self) -> Found:
        """Compare everything once; return what was found.

        Raises:
            LeaseLost: another process sweeps now. Nothing more is removed.
            WrongCluster: the cluster is not the one that the database belongs to.
            TemporaryError: the store, or any list of the cluster, could not be read.
        """
        self._identity.doubt()  # a round deletes: it asks each time
        await self._identity.check()
        installation = await self._store.installation_id()
        known = await self._recorded()  # before the list begins: what the list does not show was gone then
        compared = _Round(known=known, missing=dict(known))
        async for page in self._cluster.list_owned():
            if isinstance(page, ports.Unlisted):
                compared.unlisted.add(page.namespace)
                compared.found.failed += 1
                log.warning(
                    "a namespace could not be listed", action="cluster.list", namespace=page.namespace, error=page.why
                )
                continue
            for owned in page:
                self._look_at(owned, compared, installation=installation)
        await self._remove_orphans(compared.suspects, compared.found)
        await self._report_zombies(compared)
        _measure(compared.found)
        return compared.found

    async def _recorded(self) -> dict[str, ports.RecordedClusterJob]:
        recorded: dict[str, ports.RecordedClusterJob] = {}
        after: tuple[UUID, int] | None = None
        while True:
            page = await self._store.recorded_cluster_jobs(after=after, limit=PAGE_ROWS)
            recorded.update((row.cluster_uid, row) for row in page)
            if len(page) < PAGE_ROWS:
                return recorded
            after = (page[-1].job_id, page[-1].attempt)

    def _look_at(self, owned: ports.OwnedObject, compared: _Round, *, installation: str) -> None:
        root_uid = _root_uid(owned)
        if owned.kind == "Job":
            compared.listed_jobs.add(owned.uid)
            compared.missing.pop(owned.uid, None)
        else:
            compared.listed_pods.add(owned.uid)
        if root_uid in compared.known or owned.deleting:
            return
        if owned.installation != installation or owned.job_id == _NOBODY or owned.attempt < 1:
            compared.found.foreign += 1
            return
        follows_its_job = owned.kind == "Pod" and root_uid in compared.listed_jobs
        if not follows_its_job and self._old(owned) and len(compared.suspects) < MOST_SUSPECTS:
            compared.suspects.append(owned)

    def _old(self, owned: ports.OwnedObject) -> bool:
        grace = timedelta(seconds=self._settings.orphan_grace_seconds)
        return owned.created_at is not None and owned.created_at + grace <= self._clock.now()

    async def _remove_orphans(self, suspects: list[ports.OwnedObject], found: Found) -> None:
        claims = await self._store.claims({(owned.job_id, owned.attempt) for owned in suspects}) if suspects else {}
        orphans = [owned for owned in suspects if not claimed(owned, claims.get((owned.job_id, owned.attempt)))]
        for owned in orphans[:MOST_DELETES]:
            key = (owned.job_id, owned.attempt)
            if claimed(owned, (await self._store.claims([key])).get(key)):
                continue
            try:
                await self._cluster.remove_owned(owned)
            except TemporaryError as error:
                found.failed += 1
                log.warning(
                    "an orphan could not be removed",
                    action="orphan.remove",
                    kind=owned.kind,
                    name=owned.name,
                    error=str(error),
                )
                continue
            log.warning(
                "an orphan was removed",
                action="orphan.remove",
                kind=owned.kind,
                namespace=owned.namespace,
                name=owned.name,
                uid=owned.uid,
                job_id=str(owned.job_id),
                attempt=owned.attempt,
            )
            if owned.kind == "Job":
                found.orphan_jobs += 1
            else:
                found.orphan_pods += 1
        if len(orphans) > MOST_DELETES:
            log.warning(
                "there are more orphans than one round removes",
                action="orphan.remove",
                orphans=len(orphans),
                removed=MOST_DELETES,
            )

    async def _report_zombies(self, compared: _Round) -> None:
        """Report the cluster jobs that are gone, after one more look at each: a list shows only our own namespaces.

        A namespace that could not be listed is left out. Rows of a namespace that is no longer ours come last.
        """
        gone: list[Outgoing] = []
        rows = [row for row in compared.missing.values() if row.namespace not in compared.unlisted]
        rows.sort(key=lambda row: not self._cluster.covers(row.namespace))
        for row in rows[:MOST_ZOMBIES]:
            try:
                facts = await self._cluster.find(row.namespace, row.cluster_name, cluster_uid=row.cluster_uid)
            except TemporaryError as error:
                compared.found.failed += 1
                log.warning(
                    "a cluster job could not be read",
                    action="zombie.look",
                    job_id=str(row.job_id),
                    error=str(error),
                )
                continue
            if facts is not None and facts.uid == row.cluster_uid:
                continue
            log.warning("a cluster job is gone", action="zombie.report", job_id=str(row.job_id), attempt=row.attempt)
            gone += self._gone(row, compared)
            compared.found.zombies += 1
        if gone:
            await self._queue.send(gone)

    def _gone(self, row: ports.RecordedClusterJob, compared: _Round) -> list[Outgoing]:
        """Return the observations of a cluster job that is gone: of itself, and of its pods that are gone too."""
        seen = [Observed(job_id=row.job_id, attempt=row.attempt, seen=JobFacts(uid=row.cluster_uid, gone=True))]
        if self._cluster.covers(row.namespace):
            pods = [uid for uid in row.pod_uids if uid not in compared.listed_pods]
            seen += [
                Observed(job_id=row.job_id, attempt=row.attempt, seen=PodFacts(uid=uid, gone=True)) for uid in pods
            ]
        return [Outgoing(message=message) for message in seen]


def claimed(owned: ports.OwnedObject, claim: ports.Claim | None) -> bool:
    """Return whether the rows claim an object: it belongs to an attempt, or the next attempt will adopt it.

    A cluster job without a row is claimed by a job that has not ended and is about to make that attempt. Its processor died
    before it could record the cluster job, and the next processor adopts it. A pod that lost its owner belongs to its attempt
    until the cluster job is recorded as gone.
    """
    if claim is None:
        return False
    if claim.cluster_uid is None:
        return not claim.job_ended and owned.attempt >= claim.job_attempt
    root_uid = _root_uid(owned)
    orphaned_pod = owned.kind == "Pod" and not root_uid
    return not claim.gone and (orphaned_pod or root_uid == claim.cluster_uid)


def _root_uid(owned: ports.OwnedObject) -> str:
    """Return the uid of the Job that an object is or belongs to; empty for a pod that lost its owner."""
    return owned.uid if owned.kind == "Job" else owned.owner_uid


def _measure(found: Found) -> None:
    metrics.drift.labels("orphan_job").inc(found.orphan_jobs)
    metrics.drift.labels("orphan_pod").inc(found.orphan_pods)
    metrics.drift.labels("zombie").inc(found.zombies)
    metrics.drift.labels("failed").inc(found.failed)
    metrics.foreign_objects.set(found.foreign)
