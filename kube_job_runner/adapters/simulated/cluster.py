"""`ports.Cluster` in memory, driven by scripts: for tests, and for trying out policies without a cluster.

It behaves like Kubernetes where that matters to us (`world.py`), needs no real time, and repeats everything for the same
seed. `history` has what it was asked and what it did. `fail_next` and the faults of the feeds make it fail.
"""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime
from typing import Literal

from msgspec.structs import replace

from kube_job_runner.adapters.inprocess.captured_output import Stamper
from kube_job_runner.adapters.simulated import pods
from kube_job_runner.adapters.simulated import script as scripts
from kube_job_runner.adapters.simulated.faults import Fault, Faults, FaultyFeed, Operation
from kube_job_runner.adapters.simulated.history import History
from kube_job_runner.adapters.simulated.script import Script
from kube_job_runner.adapters.simulated.simulated_time import Schedule
from kube_job_runner.adapters.simulated.world import World
from kube_job_runner.domain.errors import ClusterRefused, NameTaken, NotFound, TemporaryError
from kube_job_runner.domain.facts import Condition, JobFacts
from kube_job_runner.domain.freshness import EVERYWHERE, WatchTimes
from kube_job_runner.domain.names import MAIN_CONTAINER
from kube_job_runner.domain.sight import Sight
from kube_job_runner.ports import (
    Clock,
    ClusterIdentity,
    ClusterJob,
    OwnedObject,
    SeenJob,
    SeenPod,
    WatchEvent,
    send_lease,
)


class SimulatedCluster:
    """`ports.Cluster` in memory. `advance` moves its time (with a `SteppedClock`), or `start` lets it follow its clock.

    `script_for` returns the script of a job; by default the annotations of its spec are the script (`script.py`). Job
    conditions lag behind the pod by up to `condition_lag_seconds`. Controllers take `step_seconds` for each step.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        script_for: Callable[[ClusterJob], Script] | None = None,
        quota: int | None = None,
        seed: int = 0,
        condition_lag_seconds: float = 1.0,
        step_seconds: float = 0.0,
        keep_history: bool = True,
        installation: str = "",
    ) -> None:
        self._identity = ClusterIdentity(
            kind="simulated", evidence="seed", uid=str(uuid.uuid5(uuid.NAMESPACE_OID, f"simulated {seed}"))
        )
        self._running: asyncio.Task[None] | None = None
        self.installation = installation
        """The installation that new objects are marked with."""
        self.quota = quota
        """How many cluster jobs may exist at once (None: any number). More are refused for the time being."""
        self.quotas: dict[str, int] = {}
        """The same for single namespaces."""
        self.history = History(keep=keep_history)
        self._schedule = Schedule(clock)
        self.faults = Faults(self._schedule)
        self._script_for = script_for or (lambda job: scripts.read(job.spec))
        self._world = World(
            self._schedule,
            self.history,
            seed=seed,
            condition_lag_seconds=condition_lag_seconds,
            step_seconds=step_seconds,
        )
        self._world.job_feed.cluster = self._world.pod_feed.cluster = self._identity

    # -- time --------------------------------------------------------------------------------------------------------

    def advance(self, seconds: float) -> None:
        self._schedule.advance(seconds)

    def fire_due(self) -> int:
        return self._schedule.fire_due()

    @property
    def next_due(self) -> float | None:
        """When the next step is due, in the clock's monotonic seconds, or None."""
        return self._schedule.next_due

    async def run(self) -> None:
        await self._schedule.run()

    def start(self) -> None:
        """Follow the clock in a task of the running event loop, until `close`."""
        if self._running is None:
            self._running = asyncio.get_running_loop().create_task(self.run(), name="simulated-cluster")

    async def identity(self) -> ClusterIdentity:
        """Clusters of one seed are the same one: their worlds are not kept."""
        return self._identity

    async def close(self) -> None:
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait({self._running})
            self._running = None

    # -- writer ------------------------------------------------------------------------------------------------------

    async def create(self, job: ClusterJob) -> JobFacts:
        """See `ports.ClusterWriter.create`. A script that cannot be read is refused."""
        with send_lease.request():
            return await self.faults.call("create", lambda: self._create(job))

    async def find(self, namespace: str, cluster_name: str, *, cluster_uid: str | None = None) -> JobFacts | None:
        return await self.faults.call("find", lambda: self._find(namespace, cluster_name))

    async def look(self, namespace: str, cluster_name: str, *, cluster_uid: str) -> Sight:
        return await self.faults.call("look", lambda: self._look(namespace, cluster_name, cluster_uid))

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

        def act() -> None:
            sim = self._world.by_name.get((namespace, cluster_name))
            if sim is not None and sim.facts.uid == cluster_uid:
                self.history.deleted(cluster_uid)
                self._world.remove(sim, foreground=wait_for_pods)
            else:
                send_lease.note_gone(cluster_uid)
            if grace_seconds is not None:
                for name, uid in pods:
                    found = self._world.by_pod.get((namespace, name))
                    if found is not None and found.pod is not None and found.pod.uid == uid:
                        self._world.remove_pod(found, grace_seconds=grace_seconds)
                    else:
                        send_lease.note_gone(uid)

        with send_lease.request():
            await self.faults.call("delete", act)

    def _create(self, job: ClusterJob) -> JobFacts:
        key = (job.namespace, job.cluster_name)
        known = self._world.by_name.get(key)
        if known is None and key in self._world.by_name:
            raise NameTaken(f"the name {job.cluster_name} is taken by an object that is not ours")
        if known is not None:
            ours = (known.job.job_id, known.job.attempt, known.job.work_hash)
            if ours != (job.job_id, job.attempt, job.work_hash):
                raise NameTaken(f"the name {job.cluster_name} belongs to job {known.job.job_id}")
            send_lease.note_adoption()
            return known.facts
        self._check_quota(job.namespace)
        try:
            script = self._script_for(job)
        except ValueError as error:
            raise ClusterRefused(str(error), reason="RequestInvalid", status=422) from error
        return self._world.add(job, script, installation=self.installation).facts

    def _check_quota(self, namespace: str) -> None:
        there = sum(sim.job.namespace == namespace and not sim.facts.gone for sim in self._world.by_uid.values())
        for used, quota in ((self.history.alive_now, self.quota), (there, self.quotas.get(namespace))):
            if quota is not None and used >= quota:
                text = f"exceeded quota: {used} of {quota} cluster jobs are used"
                send_lease.note_refusal()
                raise TemporaryError(text, reason="QuotaExceeded")

    def _find(self, namespace: str, cluster_name: str) -> JobFacts | None:
        sim = self._world.by_name.get((namespace, cluster_name))
        return sim.facts if sim is not None else None

    def _look(self, namespace: str, cluster_name: str, cluster_uid: str) -> Sight:
        sim = self._world.by_uid.get(cluster_uid)
        pod = sim.pod if sim is not None else None
        pods = (pod,) if pod is not None and not pod.gone else ()
        return Sight(job=self._find(namespace, cluster_name), pods=pods)

    # -- watcher and logs --------------------------------------------------------------------------------------------

    def watch_jobs(self) -> AsyncIterator[WatchEvent]:
        return self._world.job_feed.watch()

    def watch_pods(self) -> AsyncIterator[WatchEvent]:
        return self._world.pod_feed.watch()

    def watch_events(self) -> AsyncIterator[WatchEvent]:
        return self._world.event_feed.watch()

    def watch_times(self, kind: Literal["job", "pod", "event"]) -> Mapping[str, WatchTimes]:
        if kind == "event":
            return {}
        feed = self._world.job_feed if kind == "job" else self._world.pod_feed
        return {EVERYWHERE: feed.times(self._schedule.clock.monotonic())}

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
        sim = await self.faults.call("logs", lambda: self._world.by_pod.get((namespace, pod_name)))
        pod = sim.pod if sim is not None else None
        if sim is None or pod is None or pod.gone or container != MAIN_CONTAINER:
            raise NotFound(f"there is no container {container} in a pod {pod_name}")
        if pod.phase == "Pending":
            raise NotFound(f"container {container} in pod {pod_name} is waiting to start")
        self.history.log_requests += 1
        stamper = Stamper(sim.output.times, since=since, timestamps=timestamps)
        offset = 0
        while True:
            chunk = bytes(sim.output.content[offset:])
            if chunk:
                stamped = stamper.feed(chunk)
                offset += len(chunk)
                if stamped:
                    yield stamped
                await self.faults.call("log_stream", lambda: None)
            elif not follow or sim.pod is None or sim.pod.ended:
                return
            else:
                sim.changed.clear()
                await sim.changed.wait()

    # -- inventory ---------------------------------------------------------------------------------------------------

    def troubles(self) -> Mapping[str, str]:
        return {}

    def covers(self, namespace: str) -> bool:
        return bool(namespace)

    async def list_owned(self) -> AsyncIterator[list[OwnedObject]]:
        jobs = [sim.owned_job() for sim in self._world.by_uid.values() if not sim.facts.gone]
        yield await self.faults.call("list", lambda: jobs)
        owned = [sim.owned_pod() for sim in self._world.by_uid.values()]
        yield [pod for pod in owned if pod is not None]

    async def remove_owned(self, found: OwnedObject) -> None:

        def act() -> None:
            sim = self._world.by_uid.get(found.uid) or self._world.by_pod_uid.get(found.uid)
            if sim is None:
                return
            self.history.deleted(found.uid)
            if found.kind == "Pod":
                self._world.remove_pod(sim)
            else:
                self._world.remove(sim, foreground=False)

        await self.faults.call("remove", act)

    async def node_conditions(self, name: str) -> tuple[Condition, ...] | None:
        """See `ports.NodeReader`. The only node is ready unless it was lost."""
        if name != pods.NODE:
            return None
        if any(sim.node_lost for sim in self._world.by_uid.values()):
            return (Condition("Ready", "Unknown", "NodeStatusUnknown", "Kubelet stopped posting node status."),)
        return (Condition("Ready", "True", "KubeletReady", "kubelet is posting ready status"),)

    # -- faults and outside events -----------------------------------------------------------------------------------

    def fail_next(
        self,
        operation: Operation,
        error: Exception | None = None,
        *,
        times: int = 1,
        after: bool = False,
        delay_seconds: float = 0.0,
    ) -> None:
        """Let the next calls of an operation take `delay_seconds` and raise `error`.

        With `after`, the call takes effect and raises then, as if its answer was lost.
        """
        self.faults.add(operation, Fault(error=error, after=after, delay_seconds=delay_seconds), times=times)

    @property
    def job_feed(self) -> FaultyFeed[SeenJob]:
        """The feed of Jobs, with its faults: `hold`, `release`, `relist`, `delay_seconds`, `duplicate`."""
        return self._world.job_feed

    @property
    def pod_feed(self) -> FaultyFeed[SeenPod]:
        return self._world.pod_feed

    def disconnect_watches(self) -> None:
        """Disconnect all watchers: they lose the changes that they have not taken, and list again."""
        self._world.job_feed.relist()
        self._world.pod_feed.relist()
        self._world.event_feed.relist()

    def plant(self, namespace: str, cluster_name: str) -> None:
        """Let a foreign object take a name."""
        self._world.by_name[namespace, cluster_name] = None

    def finish(self, uid: str, *, exit_code: int = 0) -> None:
        """End the running container of a cluster job with this exit code."""
        sim = self._world.by_uid[uid]
        self._world.end(sim, replace(sim.script, exit_code=exit_code))

    def write(self, uid: str, output: bytes) -> None:
        """Let the container of a cluster job print bytes."""
        sim = self._world.by_uid[uid]
        sim.output.write(output, at=self._schedule.clock.now())
        sim.changed.set()

    def evict(self, uid: str) -> None:
        """Evict the running pod of a cluster job."""
        sim = self._world.by_uid[uid]
        self._world.end(sim, replace(sim.script, mode="evicted"))

    def emit(self, uid: str, *, reason: str, message: str, about_pod: bool = True) -> None:
        """Publish an Event about the pod of a cluster job, or about the Job itself."""
        self._world.emit(self._world.by_uid[uid], reason=reason, message=message, about_pod=about_pod)

    def lose_node(self, uid: str) -> None:
        """Let the node of a cluster job's pod fail: its pods can only be removed by force."""
        self._world.by_uid[uid].node_lost = True

    def remove_outside(self, uid: str) -> None:
        """Delete a cluster job as an administrator would, with kubectl."""
        self._world.remove(self._world.by_uid[uid], foreground=False)

    def remove_pod(self, uid: str) -> None:
        """Delete only the pod of a cluster job, as a drain of its node would."""
        self._world.remove_pod(self._world.by_uid[uid])
