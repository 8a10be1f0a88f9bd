"""The table of local runs: keeps their records in memory and on disk, and reports changes to the watchers.

Every change is first written to disk and then reported.
"""

from msgspec.structs import replace

from kube_job_runner.adapters.inprocess.feeds import Feed, gone
from kube_job_runner.adapters.local import process_facts
from kube_job_runner.adapters.local.run_records import Folder, Record
from kube_job_runner.domain.facts import JobFacts, PodFacts
from kube_job_runner.ports import Clock, SeenJob, SeenPod
from kube_job_runner.telemetry import loggers

log = loggers.get_logger(__name__)


class RunTable:
    """All runs by the uid of their cluster job."""

    def __init__(self, folder: Folder, *, clock: Clock) -> None:
        self.by_uid: dict[str, Record] = {}
        self.job_feed = Feed[SeenJob]()
        self.pod_feed = Feed[SeenPod]()
        self._uid_by_name: dict[tuple[str, str], str] = {}
        self._uid_by_pod: dict[tuple[str, str], str] = {}
        self._folder = folder
        self._clock = clock
        self._version = 0

    def job_named(self, namespace: str, cluster_name: str) -> Record | None:
        return self.by_uid.get(self._uid_by_name.get((namespace, cluster_name), ""))

    def pod_named(self, namespace: str, pod_name: str) -> Record | None:
        return self.by_uid.get(self._uid_by_pod.get((namespace, pod_name), ""))

    def next_version(self) -> int:
        """Return a resource version above all earlier ones, also those of earlier runners: they are times of the past."""
        self._version = max(self._version + 1, int(self._clock.now().timestamp() * 1_000_000))
        return self._version

    def restore(self, found: list[Record]) -> list[Record]:
        """Take over the records of an earlier runner; return those that stay.

        A run whose Job was deleted does not stay, because its process died with that runner.
        """
        versions = [version for r in found for version in (r.job.resource_version, r.pod.resource_version)]
        self._version = max(versions, default=0)
        kept = []
        for record in found:
            if record.job_gone or record.job.deleting:
                self._folder.remove(record.uid)
                continue
            self._remember(record)
            self.job_feed.store(_seen_job(record))
            if record.pod.phase:
                self.pod_feed.store(_seen_pod(record))
            kept.append(record)
        return kept

    def add(self, record: Record) -> None:
        """Add a new run.

        Raises:
            OSError: it cannot be written to disk, and was not added.
        """
        self._folder.create(record)
        self._remember(record)
        self.job_feed.publish(_seen_job(record))

    def set_job(self, record: Record, job: JobFacts) -> None:
        record.job = replace(job, resource_version=self.next_version())
        self._save(record)
        self.job_feed.publish(_seen_job(record))

    def set_pod(self, record: Record, pod: PodFacts) -> None:
        record.pod = replace(pod, resource_version=self.next_version())
        self._save(record)
        self.pod_feed.publish(_seen_pod(record))

    def conclude(self, record: Record, pod: PodFacts) -> None:
        """Set the final facts of the pod, and of its Job unless that is being deleted."""
        record.pod = replace(pod, resource_version=self.next_version())
        job_ends = not record.job_gone and not record.job.deleting
        if job_ends:
            succeeded = pod.phase == "Succeeded"
            job = process_facts.job_ended(record.job, succeeded=succeeded, at=self._clock.now())
            record.job = replace(job, resource_version=self.next_version())
        self._save(record)
        self.pod_feed.publish(_seen_pod(record))
        if job_ends:
            self.job_feed.publish(_seen_job(record))

    def drop_job(self, record: Record) -> None:
        """Remove the Job; its pod stays."""
        record.job_gone = True
        del self._uid_by_name[record.namespace, record.cluster_name]
        record.job = replace(record.job, resource_version=self.next_version())
        self._save(record)
        self.job_feed.publish(gone(_seen_job(record)))

    def forget(self, record: Record) -> None:
        """Remove the pod and then the Job of a run. Its folder stays on disk."""
        if record.pod.phase:
            record.pod = replace(record.pod, resource_version=self.next_version(), deleting=True)
            self.pod_feed.publish(gone(_seen_pod(record)))
        if not record.job_gone:
            self.drop_job(record)
        del self.by_uid[record.uid]
        del self._uid_by_pod[record.namespace, record.pod.name]

    def _remember(self, record: Record) -> None:
        self.by_uid[record.uid] = record
        self._uid_by_name[record.namespace, record.cluster_name] = record.uid
        self._uid_by_pod[record.namespace, record.pod.name] = record.uid

    def _save(self, record: Record) -> None:
        try:
            self._folder.save(record)
        except OSError as error:
            # The change has happened and is published. Only a restart of ours would show the older record.
            log.error("local jobs: a record cannot be written", action="local.save", uid=record.uid, error=str(error))


def _seen_job(record: Record) -> SeenJob:
    return SeenJob(job_id=record.job_id, attempt=record.attempt, facts=record.job)


def _seen_pod(record: Record) -> SeenPod:
    return SeenPod(job_id=record.job_id, attempt=record.attempt, facts=record.pod)
