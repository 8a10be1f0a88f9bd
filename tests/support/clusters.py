"""What tests of clusters share: jobs to create, a watcher that keeps what it saw, and one harness for each adapter.

A harness is what the contract suite (`tests/contract/cluster_suite.py`) needs of an adapter beyond the port: jobs that do
something known, and a way to let time pass until it has happened.
"""

from __future__ import annotations

import asyncio
import contextlib
import shlex
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, TypeVar

import msgspec

from kube_job_runner.adapters.local import LocalCluster
from kube_job_runner.adapters.simulated import Script, SimulatedCluster, SteppedClock
from kube_job_runner.domain import names
from kube_job_runner.domain.facts import JobFacts, PodFacts
from kube_job_runner.domain.spec.model import JobSpec
from kube_job_runner.ports import Cluster, ClusterJob, Listed, Relisting, SeenEvent, SeenJob, SeenPod, WatchEvent

T = TypeVar("T")
PATIENCE_SECONDS = 60.0


def cluster_job(spec: JobSpec | None = None, *, namespace: str = "default", attempt: int = 1) -> ClusterJob:
    """A new cluster job under a name of its own."""
    job_id = names.new_job_id(datetime.now(UTC))
    return ClusterJob(
        job_id=job_id,
        attempt=attempt,
        namespace=namespace,
        cluster_name=names.cluster_job_name("test", job_id, attempt),
        queue="default",
        spec=spec or JobSpec(image="busybox"),
        spec_hash=uuid.uuid4().hex,
    )


async def poll(check: Callable[[], T | None], *, step: Callable[[], Any] | None = None, what: str = "") -> T:
    """Return what `check` returns once it is something; fail when patience ends. `step` lets simulated time pass."""
    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        found = check()
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"waited {PATIENCE_SECONDS:g} s for {what or check}")
        if step is not None:
            step()
        await asyncio.sleep(0 if step is not None else 0.01)


class Recorder:
    """A watcher that keeps all it saw, in order."""

    def __init__(self) -> None:
        self.events: list[WatchEvent] = []
        self._task: asyncio.Task[None] | None = None

    def follow(self, watch: Any) -> Recorder:
        """Begin to watch."""

        async def run() -> None:
            async with contextlib.aclosing(watch) as events:
                async for event in events:
                    self.events.append(event)

        self._task = asyncio.create_task(run())
        return self

    async def stop(self) -> None:
        """Stop watching; an error of the watch is raised here."""
        assert self._task is not None
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    def of(self, uid: str) -> list[Any]:
        """All facts of one uid, in the order seen."""
        return [e.facts for e in self.events if isinstance(e, SeenJob | SeenPod) and e.facts.uid == uid]

    def pods_of(self, job_uid: str) -> list[PodFacts]:
        """All pod facts of one cluster job, in the order seen."""
        return [e.facts for e in self.events if isinstance(e, SeenPod) and e.facts.job_uid == job_uid]

    @property
    def texts(self) -> list[SeenEvent]:
        """All Kubernetes Events, in the order seen."""
        return [e for e in self.events if isinstance(e, SeenEvent)]

    @property
    def listed(self) -> bool:
        """Whether a first list is complete."""
        return any(isinstance(e, Listed) for e in self.events)

    @property
    def lists(self) -> list[list[Any]]:
        """The content of every complete list."""
        found: list[list[Any]] = []
        current: list[Any] | None = None
        for event in self.events:
            if isinstance(event, Relisting):
                current = []
            elif isinstance(event, Listed):
                assert current is not None
                found.append(current)
                current = None
            elif current is not None:
                current.append(event)
        return found

    @property
    def changes(self) -> list[Any]:
        """What was seen outside of lists."""
        found, listing = [], False
        for event in self.events:
            if isinstance(event, Relisting | Listed):
                listing = isinstance(event, Relisting)
            elif not listing:
                found.append(event)
        return found


class Harness(Protocol):
    """What the suite needs of an adapter beyond the port."""

    cluster: Cluster
    namespace: str
    installation: str

    def succeeds(self) -> ClusterJob:
        """A job that runs for a moment and exits 0."""
        ...

    def exits(self, code: int) -> ClusterJob:
        """A job that runs for a moment and exits with `code`."""
        ...

    def cannot_start(self) -> ClusterJob:
        """A job whose container can never start."""
        ...

    def image_missing(self) -> ClusterJob:
        """A job whose image cannot be pulled, and the cluster says so in an Event."""
        ...

    def runs(self) -> ClusterJob:
        """A job that prints `first`, runs until released, prints `second`, and exits 0."""
        ...

    def never_stops(self) -> ClusterJob:
        """A job that runs and ignores SIGTERM; its grace period is an hour."""
        ...

    def prints(self, output: bytes) -> ClusterJob:
        """A job that prints exactly this, and exits 0."""
        ...

    async def release(self, job: ClusterJob, facts: JobFacts) -> None:
        """Let a job of `runs` finish."""
        ...

    async def plant(self, job: ClusterJob) -> None:
        """Put an object that is not ours under the job's name."""
        ...

    async def until(self, check: Callable[[], T | None]) -> T:
        """Let time pass until `check` returns something, and return it."""
        ...


class LocalHarness:
    """Jobs are shell commands; a running one continues when a file appears."""

    namespace = "default"
    installation = "installation-1"

    def __init__(self, cluster: LocalCluster, folder: Path) -> None:
        self.cluster = cluster
        self._folder = folder

    def shell(self, script: str, **spec: Any) -> ClusterJob:
        """A job that is a shell script."""
        return cluster_job(JobSpec(image="busybox", command=("/bin/sh", "-c", script), **spec))

    def succeeds(self) -> ClusterJob:
        return self.shell("exit 0")

    def exits(self, code: int) -> ClusterJob:
        return self.shell(f"exit {code}")

    def cannot_start(self) -> ClusterJob:
        return cluster_job(JobSpec(image="busybox", command=("no-such-program",)))

    def image_missing(self) -> ClusterJob:
        raise NotImplementedError("a local cluster pulls no images")

    def runs(self) -> ClusterJob:
        job = cluster_job()
        flag = shlex.quote(str(self._flag(job)))
        script = f"echo first; while [ ! -e {flag} ]; do sleep 0.02; done; echo second"
        spec = JobSpec(image="busybox", command=("/bin/sh", "-c", script), stop_grace_seconds=5)
        return msgspec.structs.replace(job, spec=spec)

    def never_stops(self) -> ClusterJob:
        return self.shell("trap '' TERM; while :; do sleep 0.05; done", stop_grace_seconds=3600)

    def prints(self, output: bytes) -> ClusterJob:
        file = self._folder / uuid.uuid4().hex
        file.write_bytes(output)
        return cluster_job(JobSpec(image="busybox", command=("cat", str(file))))

    async def release(self, job: ClusterJob, facts: JobFacts) -> None:
        self._flag(job).touch()

    async def plant(self, job: ClusterJob) -> None:
        raise NotImplementedError("only jobs of ours can hold a name in a local cluster")

    async def until(self, check: Callable[[], T | None]) -> T:
        return await poll(check)

    def _flag(self, job: ClusterJob) -> Path:
        return self._folder / f"{job.cluster_name}.flag"


class SimulatedHarness:
    """Jobs are scripts, and time passes in steps while a test waits."""

    namespace = "default"
    installation = "installation-1"
    step_seconds = 0.1

    def __init__(self) -> None:
        self._scripts: dict[str, Script] = {}
        self.simulated = SimulatedCluster(
            clock=SteppedClock(),
            script_for=lambda job: self._scripts[job.cluster_name],
            installation=self.installation,
        )
        self.cluster: Cluster = self.simulated

    def scripted(self, script: Script) -> ClusterJob:
        """A job that does as its script says."""
        job = cluster_job()
        self._scripts[job.cluster_name] = script
        return job

    def succeeds(self) -> ClusterJob:
        return self.scripted(Script(run_seconds=0.5))

    def exits(self, code: int) -> ClusterJob:
        return self.scripted(Script(run_seconds=0.5, exit_code=code))

    def cannot_start(self) -> ClusterJob:
        return self.scripted(Script(mode="starterror"))

    def image_missing(self) -> ClusterJob:
        return self.scripted(Script(mode="imagepull"))

    def runs(self) -> ClusterJob:
        return self.scripted(Script(run_seconds=None, log=b"first\n"))

    def never_stops(self) -> ClusterJob:
        job = self.scripted(Script(run_seconds=None, grace_seconds=3600.0))
        return msgspec.structs.replace(job, spec=JobSpec(image="busybox", stop_grace_seconds=3600))

    def prints(self, output: bytes) -> ClusterJob:
        return self.scripted(Script(log=output))

    async def release(self, job: ClusterJob, facts: JobFacts) -> None:
        self.simulated.write(facts.uid, b"second\n")
        self.simulated.finish(facts.uid)

    async def plant(self, job: ClusterJob) -> None:
        self.simulated.plant(job.namespace, job.cluster_name)

    async def until(self, check: Callable[[], T | None]) -> T:
        return await poll(check, step=lambda: self.simulated.advance(self.step_seconds))
