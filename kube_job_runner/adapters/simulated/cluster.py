"""A cluster that is a script: for tests of everything above the port, and for trying out policies without a cluster.

It behaves as Kubernetes does where that matters to us (`world.py`), needs no real time, and does the same again for the same
seed. What it was asked and what it did is in `history`; what may go wrong is set with `fail_next` and the watch faults.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime

from msgspec.structs import replace

from kube_job_runner.adapters.inprocess.captured_output import Stamper
from kube_job_runner.adapters.simulated import pods
from kube_job_runner.adapters.simulated import script as scripts
from kube_job_runner.adapters.simulated.faults import Fault, Faults, FaultyFeed, Operation
from kube_job_runner.adapters.simulated.history import History
from kube_job_runner.adapters.simulated.script import Script
from kube_job_runner.adapters.simulated.simulated_time import Timeline
from kube_job_runner.adapters.simulated.world import World
from kube_job_runner.domain.errors import ClusterRefused, NameTaken, NotFound, TemporaryError
from kube_job_runner.domain.facts import Condition, JobFacts
from kube_job_runner.domain.names import MAIN_CONTAINER
from kube_job_runner.ports import Clock, ClusterJob, OwnedObject, SeenJob, SeenPod, WatchEvent


class SimulatedCluster:
    """`ports.Cluster` in memory. Move it with `advance` (given a `SteppedClock`), or let it follow its clock (`start`).

    `script_for` says what a job will do; without it the annotations of its spec do (`script.py`). Job conditions lag
    behind their pod by up to `condition_lag_seconds`, and controllers take `step_seconds` for each step.
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
        self._running: asyncio.Task[None] | None = None
        self.installation = installation
        """What marks the objects made from now on as made for one database."""
        self.quota = quota
        """How many cluster jobs may exist at once; more are refused for now. None: any number."""
        self.history = History(keep=keep_history)
        self._timeline = Timeline(clock)
        self.faults = Faults(self._timeline)
        self._script_for = script_for or (lambda job: scripts.read(job.spec))
        self._world = World(
            self._timeline,
            self.history,
            seed=seed,
            condition_lag_seconds=condition_lag_seconds,
            step_seconds=step_seconds,
        )

    # -- time --------------------------------------------------------------------------------------------------------

    def advance(self, seconds: float) -> None:
        """Let time pass; see `Timeline.advance`."""
        self._timeline.advance(seconds)

    def fire_due(self) -> int:
        """Do what is due by the clock; return how many steps that were."""
        return self._timeline.fire_due()

    @property
    def next_due(self) -> float | None:
        """When something happens next, as the clock's monotonic seconds, or None when nothing is planned."""
        return self._timeline.next_due

    async def run(self) -> None:
        """Follow the clock until cancelled."""
        await self._timeline.run()

    def start(self) -> None:
        """Follow the clock in a task of the running event loop, until `close`."""
        if self._running is None:
            self._running = asyncio.get_running_loop().create_task(self.run(), name="simulated-cluster")

    async def close(self) -> None:
        """Stop following the clock."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait({self._running})
            self._running = None

    # -- writer ------------------------------------------------------------------------------------------------------

    async def create(self, job: ClusterJob) -> JobFacts:
        """Create or adopt a job; see `ports.ClusterWriter.create`. A script that cannot be read is refused."""
        return await self.faults.call("create", lambda: self._create(job))

    async def find(self, namespace: str, cluster_name: str) -> JobFacts | None:
        """Return the facts of the job of that name when it is ours, or None."""
        return await self.faults.call("find", lambda: self._find(namespace, cluster_name))

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
        """Ask for the removal of a job; see `ports.ClusterWriter.delete`."""

        def act() -> None:
            sim = self._world.by_name.get((namespace, cluster_name))
            if sim is not None and sim.facts.uid == cluster_uid:
                self.history.deleted(cluster_uid)
                self._world.remove(sim, foreground=wait_for_pods)
            if grace_seconds is not None:
                for name, uid in pods:
                    found = self._world.by_pod.get((namespace, name))
                    if found is not None and found.pod is not None and found.pod.uid == uid:
                        self._world.remove_pod(found, grace_seconds=grace_seconds)

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
            return known.facts
        if self.quota is not None and self.history.alive_now >= self.quota:
            text = f"exceeded quota: {self.history.alive_now} of {self.quota} cluster jobs are used"
            raise TemporaryError(text, reason="QuotaExceeded")
        try:
            script = self._script_for(job)
        except ValueError as error:
            raise ClusterRefused(str(error), reason="RequestInvalid", status=422) from error
        return self._world.add(job, script, installation=self.installation).facts

    def _find(self, namespace: str, cluster_name: str) -> JobFacts | None:
        sim = self._world.by_name.get((namespace, cluster_name))
        return sim.facts if sim is not None else None

    # -- watcher and logs --------------------------------------------------------------------------------------------

    def watch_jobs(self) -> AsyncIterator[WatchEvent]:
        """Watch jobs; see `ports.ClusterWatcher`."""
        return self._world.job_feed.watch()

    def watch_pods(self) -> AsyncIterator[WatchEvent]:
        """Watch pods; see `ports.ClusterWatcher`."""
        return self._world.pod_feed.watch()

    def watch_events(self) -> AsyncIterator[WatchEvent]:
        """Watch the Warning Events; see `ports.ClusterWatcher`."""
        return self._world.event_feed.watch()

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
        """Yield what the container has printed; see `ports.ClusterLogs`."""
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
        """Tell that every namespace can be watched."""
        return {}

    def covers(self, namespace: str) -> bool:
        """Tell that every namespace is listed."""
        return bool(namespace)

    async def list_owned(self) -> AsyncIterator[list[OwnedObject]]:
        """Yield all Jobs, then all pods; see `ports.ClusterInventory`."""
        jobs = [sim.owned_job() for sim in self._world.by_uid.values() if not sim.facts.gone]
        yield await self.faults.call("list", lambda: jobs)
        owned = [sim.owned_pod() for sim in self._world.by_uid.values()]
        yield [pod for pod in owned if pod is not None]

    async def remove_owned(self, found: OwnedObject) -> None:
        """Delete a Job in the background, or a pod; see `ports.ClusterInventory`."""

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
        """Return the conditions of the one node; it is ready unless it was lost."""
        if name != pods.NODE:
            return None
        if any(sim.node_lost for sim in self._world.by_uid.values()):
            return (Condition("Ready", "Unknown", "NodeStatusUnknown", "Kubelet stopped posting node status."),)
        return (Condition("Ready", "True", "KubeletReady", "kubelet is posting ready status"),)

    # -- what happens to it ------------------------------------------------------------------------------------------

    def fail_next(
        self,
        operation: Operation,
        error: Exception | None = None,
        *,
        times: int = 1,
        after: bool = False,
        delay_seconds: float = 0.0,
    ) -> None:
        """Let the next calls of an operation take `delay_seconds` and fail with `error`.

        With `after` the call takes effect and fails then, as when its answer was lost.
        """
        self.faults.add(operation, Fault(error=error, after=after, delay_seconds=delay_seconds), times=times)

    @property
    def job_feed(self) -> FaultyFeed[SeenJob]:
        """What watchers of jobs see, with its faults: `hold`, `release`, `relist`, `delay_seconds`, `duplicate`."""
        return self._world.job_feed

    @property
    def pod_feed(self) -> FaultyFeed[SeenPod]:
        """What watchers of pods see, with its faults."""
        return self._world.pod_feed

    def disconnect_watches(self) -> None:
        """Cut all watchers off: what they have not taken yet is lost to them, and they list again."""
        self._world.job_feed.relist()
        self._world.pod_feed.relist()
        self._world.event_feed.relist()

    def plant(self, namespace: str, cluster_name: str) -> None:
        """Put an object that is not ours under a name."""
        self._world.by_name[namespace, cluster_name] = None

    def finish(self, uid: str, *, exit_code: int = 0) -> None:
        """Let the running container of a cluster job end now with this code."""
        sim = self._world.by_uid[uid]
        self._world.end(sim, replace(sim.script, exit_code=exit_code))

    def write(self, uid: str, output: bytes) -> None:
        """Let the container of a cluster job print something."""
        sim = self._world.by_uid[uid]
        sim.output.write(output, at=self._timeline.clock.now())
        sim.changed.set()

    def evict(self, uid: str) -> None:
        """Let a kubelet evict the running pod of a cluster job."""
        sim = self._world.by_uid[uid]
        self._world.end(sim, replace(sim.script, mode="evicted"))

    def emit(self, uid: str, *, reason: str, message: str, about_pod: bool = True) -> None:
        """Let a component of the cluster say something about the pod of a cluster job, or about the Job itself."""
        self._world.emit(self._world.by_uid[uid], reason=reason, message=message, about_pod=about_pod)

    def lose_node(self, uid: str) -> None:
        """Let the node of a cluster job's pod fall silent: nothing stops there any more but by force."""
        self._world.by_uid[uid].node_lost = True

    def remove_outside(self, uid: str) -> None:
        """Delete a cluster job as somebody else would, with kubectl."""
        self._world.remove(self._world.by_uid[uid], foreground=False)

    def remove_pod(self, uid: str) -> None:
        """Delete the pod of a cluster job alone, as a drain would."""
        self._world.remove_pod(self._world.by_uid[uid])
