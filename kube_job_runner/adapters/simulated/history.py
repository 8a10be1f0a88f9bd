"""The history of the simulated cluster: what was really done to it, independent of the product's own tables."""

from collections import Counter
from uuid import UUID

from kube_job_runner.ports import ClusterJob

AttemptKey = tuple[UUID, int]


class History:
    """Counts by cluster job and by attempt. They grow with every job. `keep=False` keeps only the jobs that exist now."""

    def __init__(self, *, keep: bool = True) -> None:
        self._keep = keep
        self.log_requests = 0
        """Logs opened."""
        self.creates: Counter[tuple[str, str]] = Counter()
        """Creates that took effect, by namespace and name. Adoptions are not counted."""
        self.deletes: Counter[str] = Counter()
        """Delete requests that found their object, by uid."""
        self.starts: Counter[AttemptKey] = Counter()
        """Containers started, by attempt."""
        self.alive: dict[AttemptKey, set[str]] = {}
        """Uids of the cluster jobs of which the Job or a pod exists now, by attempt."""
        self.most_alive: Counter[AttemptKey] = Counter()
        """The most cluster jobs that an attempt ever had at once. The promise is 1."""

    def created(self, job: ClusterJob, uid: str) -> None:
        key = (job.job_id, job.attempt)
        living = self.alive.setdefault(key, set())
        living.add(uid)
        if self._keep:
            self.creates[job.namespace, job.cluster_name] += 1
            self.most_alive[key] = max(self.most_alive[key], len(living))

    def deleted(self, uid: str) -> None:
        if self._keep:
            self.deletes[uid] += 1

    def started(self, job: ClusterJob) -> None:
        if self._keep:
            self.starts[job.job_id, job.attempt] += 1

    def ended(self, job: ClusterJob, uid: str) -> None:
        """Note that nothing is left of a cluster job."""
        key = (job.job_id, job.attempt)
        living = self.alive.get(key)
        if living is not None:
            living.discard(uid)
            if not living:
                del self.alive[key]

    @property
    def alive_now(self) -> int:
        """How many cluster jobs exist now, including those of which only a pod is left."""
        return sum(len(uids) for uids in self.alive.values())

    def violations(self) -> list[str]:
        """Return a sentence for each attempt that had two cluster jobs at once or was started twice."""
        found = [f"{key} had {count} cluster jobs at once" for key, count in self.most_alive.items() if count > 1]
        found += [f"{key} was started {count} times" for key, count in self.starts.items() if count > 1]
        found += [f"the name {name} was created {count} times" for name, count in self.creates.items() if count > 1]
        return found
