"""`ports.Cluster` without a cluster: runs jobs as child processes of this machine, with the facts that pods would have.

`runs.py` has the life of a run, and `shim.py` is the parent of the processes. The reasons for this design are in
`docs/adr/0007-local-processes.md`.
"""

import asyncio
import contextlib
import fcntl
import os
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Literal

import msgspec

from kube_job_runner.adapters.inprocess.captured_output import Stamper
from kube_job_runner.adapters.inprocess.feeds import EventFeed
from kube_job_runner.adapters.local import launch, log_files, process_facts, run_records
from kube_job_runner.adapters.local.runs import Runs
from kube_job_runner.domain.errors import ConfigurationError, NameTaken, NotFound, TemporaryError
from kube_job_runner.domain.facts import Condition, JobFacts, PodFacts
from kube_job_runner.domain.freshness import EVERYWHERE, WatchTimes
from kube_job_runner.domain.names import MAIN_CONTAINER
from kube_job_runner.domain.sight import Sight
from kube_job_runner.ports import Clock, ClusterIdentity, ClusterJob, OwnedObject, WatchEvent, send_lease
from kube_job_runner.telemetry import loggers

log = loggers.get_logger(__name__)

LOG_MAX_BYTES = 100 * 1000 * 1000
PROCESSES_PER_CPU = 4


class LocalCluster:
    """`ports.Cluster` of local processes. Call `start` and `close` in the event loop that uses it.

    At most `max_processes` jobs run at once (by default four for each CPU). `log_max_bytes` of each log are kept.
    With `user`, which needs root, jobs run as that user.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        clock: Clock,
        max_processes: int | None = None,
        log_max_bytes: int = LOG_MAX_BYTES,
        installation: str = "",
        user: str | None = None,
    ) -> None:
        self._root = data_dir / "local"
        self._clock = clock
        self._installation = installation
        self._log_max_bytes = log_max_bytes
        self._folder = run_records.Folder(self._root)
        self._runs = Runs(
            self._folder,
            clock=clock,
            max_processes=max_processes or (os.cpu_count() or 1) * PROCESSES_PER_CPU,
            log_max_bytes=log_max_bytes,
            account=None if user is None else launch.account(user),
        )
        self._events = EventFeed()
        self._noted = False
        self._lock: int | None = None
        self._id = ""

    @property
    def shim_pid(self) -> int | None:
        """The process id of the shim, the parent of all local processes, or None."""
        return self._runs.processes.shim_pid

    async def start(self) -> None:
        """Load the records of earlier runners: ended jobs as they ended, running ones as lost, waiting ones to be run.

        Raises:
            ConfigurationError: another runner uses the data directory.
            TemporaryError: the data directory cannot be used.
        """
        try:
            found = await asyncio.to_thread(self._folder.load, self._claim)
            self._id = await asyncio.to_thread(self._folder.identity)
        except OSError as error:
            self._release()
            raise TemporaryError(f"the folder of local jobs cannot be used: {error}") from error
        table = self._runs.table
        table.job_feed.cluster = table.pod_feed.cluster = await self.identity()
        self._runs.restore(found)

    async def identity(self) -> ClusterIdentity:
        return ClusterIdentity(kind="local", evidence="data directory", uid=self._id, place=str(self._root))

    async def close(self) -> None:
        """Stop every process: SIGTERM, and SIGKILL after two seconds. On the next start, these jobs are lost."""
        await self._runs.close()
        self._release()

    def _claim(self) -> None:
        self._lock = os.open(self._root / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._release()
            raise ConfigurationError(f"another runner keeps its local jobs in {self._root}; stop it first") from None

    def _release(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    # -- writer ------------------------------------------------------------------------------------------------------

    async def create(self, job: ClusterJob) -> JobFacts:
        """See `ports.ClusterWriter.create`. A full disk is a `TemporaryError`."""
        with send_lease.request():
            return self._create(job)

    def _create(self, job: ClusterJob) -> JobFacts:
        known = self._runs.table.job_named(job.namespace, job.cluster_name)
        if known is not None:
            send_lease.note_adoption()
            return _adopt(known, job)
        if not self._noted:
            self._noted = True
            log.warning(
                "local jobs: images are not used",
                action="local.create",
                example=process_facts.image_note(job.spec.image),
            )
        record = self._record(job)
        try:
            self._runs.add(record)
        except OSError as error:
            send_lease.note_refusal()
            raise TemporaryError(f"the record of a local job cannot be written: {error.strerror}") from error
        return record.job

    async def find(self, namespace: str, cluster_name: str, *, cluster_uid: str | None = None) -> JobFacts | None:
        record = self._runs.table.job_named(namespace, cluster_name)
        return record.job if record is not None else None

    async def look(self, namespace: str, cluster_name: str, *, cluster_uid: str) -> Sight:
        record = self._runs.table.by_uid.get(cluster_uid)
        pods = (record.pod,) if record is not None and record.pod.phase else ()
        return Sight(job=await self.find(namespace, cluster_name), pods=pods)

    async def delete(
        self,
        namespace: str,
        cluster_name: str,
        *,
        cluster_uid: str,
        wait_for_pods: bool,
        pods: Sequence[tuple[str, str]] = (),
        grace_seconds: int | None = None,
    ) -> None:
        """See `ports.ClusterWriter.delete`. A process gets SIGTERM, and SIGKILL after its `stop_grace_seconds`."""
        with send_lease.request():
            named = self._runs.table.job_named(namespace, cluster_name)
            if named is not None and named.uid == cluster_uid:
                self._runs.remove(named, wait_for_pods=wait_for_pods)
            for name, uid in pods if grace_seconds is not None else ():
                record = self._runs.table.pod_named(namespace, name)
                if record is not None and record.pod.uid == uid:
                    self._runs.hurry(record, grace_seconds=grace_seconds or 0)

    def _record(self, job: ClusterJob) -> run_records.Record:
        uid, pod_uid, now = str(uuid.uuid4()), str(uuid.uuid4()), self._clock.now()
        return run_records.Record(
            job_id=job.job_id,
            attempt=job.attempt,
            namespace=job.namespace,
            cluster_name=job.cluster_name,
            spec_hash=job.work_hash,
            installation=self._installation,
            spec=msgspec.structs.replace(job.spec, env=job.env),
            job=JobFacts(uid=uid, resource_version=self._runs.table.next_version(), created_at=now, started_at=now),
            pod=PodFacts(
                uid=pod_uid,
                name=f"{job.cluster_name}-{pod_uid[:5]}",
                job_uid=uid,
                created_at=now,
                message=process_facts.image_note(job.spec.image),
            ),
        )

    # -- watcher and logs --------------------------------------------------------------------------------------------

    def watch_jobs(self) -> AsyncIterator[WatchEvent]:
        return self._runs.table.job_feed.watch()

    def watch_pods(self) -> AsyncIterator[WatchEvent]:
        return self._runs.table.pod_feed.watch()

    def watch_events(self) -> AsyncIterator[WatchEvent]:
        """See `ports.ClusterWatcher`. A local cluster has no Events."""
        return self._events.watch()

    def watch_times(self, kind: Literal["job", "pod", "event"]) -> Mapping[str, WatchTimes]:
        if kind == "event":
            return {}
        feed = self._runs.table.job_feed if kind == "job" else self._runs.table.pod_feed
        return {EVERYWHERE: feed.times(self._clock.monotonic())}

    async def logs(
        self,
        namespace: str,
        pod_name: str,
        *,
        container: str,
        follow: bool,
        since: datetime | None = None,
        timestamps: bool = False,
    ) -> AsyncIterator[bytes]:
        """See `ports.ClusterLogs`. Standard output and standard error are one log."""
        record = self._runs.table.pod_named(namespace, pod_name)
        if record is None or container != MAIN_CONTAINER:
            raise NotFound(f"there is no container {container} in a pod {pod_name}")
        if record.pod.phase in ("", "Pending"):
            raise NotFound(f"container {container} in pod {pod_name} is waiting to start")
        times = self._runs.times_of(record.uid)
        stamper = Stamper(times, since=since, timestamps=timestamps)
        reading = log_files.read(
            self._folder.log_path(record.uid),
            cap_bytes=self._log_max_bytes,
            follow=follow,
            ended=lambda: record.pod.ended,
            note=lambda size: times.note(size, self._clock.now()),
        )
        try:
            async with contextlib.aclosing(reading) as chunks:
                async for chunk in chunks:
                    stamped = stamper.feed(chunk)
                    if stamped:
                        yield stamped
        except FileNotFoundError:
            raise NotFound(f"the log of pod {pod_name} is gone") from None
        except OSError as error:
            raise TemporaryError(f"the log of pod {pod_name} cannot be read: {error.strerror}") from error

    # -- inventory ---------------------------------------------------------------------------------------------------

    def troubles(self) -> Mapping[str, str]:
        return {}

    def covers(self, namespace: str) -> bool:
        return bool(namespace)

    async def list_owned(self) -> AsyncIterator[list[OwnedObject]]:
        records_now = list(self._runs.table.by_uid.values())
        yield [record.owned_job() for record in records_now if not record.job_gone]
        yield [record.owned_pod() for record in records_now if record.pod.phase]

    async def remove_owned(self, found: OwnedObject) -> None:
        """See `ports.ClusterInventory`. A pod without its Job is being stopped already."""
        record = self._runs.table.by_uid.get(found.uid)
        if record is not None and not record.job_gone:
            self._runs.remove(record, wait_for_pods=False)

    async def node_conditions(self, name: str) -> tuple[Condition, ...] | None:
        """See `ports.NodeReader`. The only node is this machine, and it is ready."""
        return (Condition("Ready", reason="LocalProcesses"),) if name == self._runs.node else None


def _adopt(record: run_records.Record, job: ClusterJob) -> JobFacts:
    if (record.job_id, record.attempt, record.spec_hash) != (job.job_id, job.attempt, job.work_hash):
        raise NameTaken(f"the name {job.cluster_name} belongs to job {record.job_id}, attempt {record.attempt}")
    return record.job
