"""The local jobs and what happens to them: slots, processes, facts. Every change is first on disk, then told.

One job: `add` -> a slot is free -> the shim starts its process -> its facts change as the process starts and ends ->
`remove` stops what runs, and forgets the job once nothing of it is left.
"""

from __future__ import annotations

import asyncio
import contextlib
import platform
import signal as signals
from collections import deque
from collections.abc import Coroutine
from typing import Any

from msgspec.structs import replace

from kube_job_runner.adapters.inprocess.captured_output import FileTimes
from kube_job_runner.adapters.inprocess.feeds import Feed, gone
from kube_job_runner.adapters.local import launch, log_files, process_facts
from kube_job_runner.adapters.local.processes import Processes
from kube_job_runner.adapters.local.run_records import Folder, Record
from kube_job_runner.domain.facts import JobFacts, PodFacts
from kube_job_runner.ports import Clock, SeenJob, SeenPod
from kube_job_runner.telemetry import loggers

log = loggers.get_logger(__name__)

CLOSE_GRACE_SECONDS = 2.0
CAP_SECONDS = 1.0


class Jobs:
    """All jobs by the uid of their cluster job, and the processes of those that run."""

    def __init__(self, folder: Folder, *, clock: Clock, max_processes: int, log_max_bytes: int) -> None:
        self.by_uid: dict[str, Record] = {}
        self.uid_by_name: dict[tuple[str, str], str] = {}
        self.uid_by_pod: dict[tuple[str, str], str] = {}
        self.job_feed = Feed[SeenJob]()
        self.pod_feed = Feed[SeenPod]()
        self.processes = Processes(self)
        self._folder = folder
        self._times: dict[str, FileTimes] = {}
        self._clock = clock
        self._max_processes = max_processes
        self._log_max_bytes = log_max_bytes
        self._queue: deque[str] = deque()
        self._running: set[str] = set()
        self._kills: dict[str, asyncio.TimerHandle] = {}
        self._version = 0
        self.node = platform.node() or "localhost"
        self._tasks: set[asyncio.Task[None]] = set()
        self._caps: asyncio.Task[None] | None = None
        self._ended = asyncio.Event()
        self._closing = False

    # -- life --------------------------------------------------------------------------------------------------------

    def restore(self, found: list[Record]) -> None:
        """Take over the records of earlier runners, and run those that still wait for a slot."""
        self._version = max((max(r.job.resource_version, r.pod.resource_version) for r in found), default=0)
        for record in found:
            if record.job_gone or record.job.deleting:
                self._folder.remove(record.uid)  # its process died with the runner
                continue
            self._remember(record)
            self.job_feed.store(_seen_job(record))
            if record.waits_for_slot:
                self._queue.append(record.uid)
            elif not record.pod.ended and not record.refused_config:
                self._conclude(
                    record, process_facts.lost(record.pod, message=process_facts.STOPPED_MESSAGE, at=self._clock.now())
                )
            if record.pod.phase:
                self.pod_feed.store(_seen_pod(record))
        self._caps = asyncio.create_task(self._keep_caps(), name="local-log-caps")
        self._fill_slots()

    async def close(self) -> None:
        """Stop every process (SIGTERM, after two seconds SIGKILL). On the next start these jobs are lost ones."""
        self._closing = True
        if self._caps is not None:
            self._caps.cancel()
        await self._finish_tasks()
        for uid in self._running:
            self.processes.signal(uid, signals.SIGTERM)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_GRACE_SECONDS):
                while self._running:
                    self._ended.clear()
                    await self._ended.wait()
        for timer in self._kills.values():
            timer.cancel()
        await self.processes.close()
        self._running.clear()
        await self._finish_tasks()

    # -- what the cluster asks ---------------------------------------------------------------------------------------

    def next_version(self) -> int:
        """Return a version above all before it; those of earlier runners are below their records' and below the time."""
        self._version = max(self._version + 1, int(self._clock.now().timestamp() * 1_000_000))
        return self._version

    def add(self, record: Record) -> None:
        """Take a new job in, and run it now or when there is a free slot, first come, first served.

        Raises:
            OSError: it cannot be written to disk; it is not taken in.
        """
        self._folder.create(record)
        self._remember(record)
        self.job_feed.publish(_seen_job(record))
        self._queue.append(record.uid)
        self._fill_slots()
        if record.uid in self._queue:
            at = self._clock.now()
            self._set_pod(record, process_facts.waits_for_slot(record.pod, running=self._max_processes, at=at))

    def remove(self, record: Record, *, wait_for_pods: bool) -> None:
        """Stop a job's process and forget the job; with `wait_for_pods` it is seen until then."""
        if not wait_for_pods:
            self._drop_job(record)
        elif not record.job.deleting:
            self._set_job(record, replace(record.job, deleting=True))
        if record.uid not in self._running:
            self._forget(record)
        elif not record.pod.deleting:
            self._set_pod(record, replace(record.pod, deleting=True))
            self._stop(record)

    def hurry(self, record: Record, *, grace_seconds: float) -> None:
        """Let a process that is being stopped end sooner: SIGKILL once this grace period is over."""
        if record.uid in self._running and record.pod.deleting:
            self._kill_after(record, seconds=grace_seconds)

    def times_of(self, uid: str) -> FileTimes:
        """Return when there was how much of a job's log."""
        if uid not in self._times:
            self._times[uid] = FileTimes(self._folder.log_path(uid).with_name("log.times"))
        return self._times[uid]

    # -- what the shim tells -----------------------------------------------------------------------------------------

    def process_started(self, uid: str) -> None:
        """Tell that a job runs."""
        record = self.by_uid[uid]
        self._set_pod(record, process_facts.runs(record.pod, at=self._clock.now()))

    def process_refused(self, uid: str, error: str) -> None:
        """Fail a job that could not be started."""
        record = self.by_uid[uid]
        self._finish(record, process_facts.refused(record.pod, message=error, at=self._clock.now()))

    def process_ended(self, uid: str, *, code: int, signal: int) -> None:
        """Conclude a job by its exit code; while we close, its end is our doing and is not recorded."""
        record = self.by_uid[uid]
        if self._closing and not record.pod.deleting:
            self._running.discard(uid)
            self._ended.set()
            return
        self._finish(record, process_facts.ended(record.pod, code=code, signal=signal, at=self._clock.now()))

    def process_lost(self, uid: str) -> None:
        """Conclude a job whose end nobody saw."""
        record = self.by_uid[uid]
        log.error("local jobs: the shim died", uid=uid)
        self._finish(
            record, process_facts.lost(record.pod, message=process_facts.SHIM_LOST_MESSAGE, at=self._clock.now())
        )

    # -- steps -------------------------------------------------------------------------------------------------------

    def _remember(self, record: Record) -> None:
        self.by_uid[record.uid] = record
        self.uid_by_name[record.namespace, record.cluster_name] = record.uid
        self.uid_by_pod[record.namespace, record.pod.name] = record.uid

    def _fill_slots(self) -> None:
        while self._queue and len(self._running) < self._max_processes and not self._closing:
            record = self.by_uid[self._queue.popleft()]
            planned = launch.plan(record.spec)
            pod = process_facts.scheduled(record.pod, node=self.node, at=self._clock.now())
            if isinstance(planned, launch.Launch):
                self._running.add(record.uid)
                self._set_pod(record, pod)
                self._spawn(self._launch(record, planned))
            elif planned.waits:
                self._set_pod(record, process_facts.waits(pod, reason=planned.reason, message=planned.message))
            else:
                self._conclude(record, process_facts.refused(pod, message=planned.message, at=self._clock.now()))

    async def _launch(self, record: Record, planned: launch.Launch) -> None:
        if self._closing:
            self._running.discard(record.uid)
            return
        try:
            await self.processes.start(
                record.uid,
                argv=planned.argv,
                env=planned.env,
                cwd=planned.cwd or self._folder.work_path(record.uid),
                log=self._folder.log_path(record.uid),
            )
        except OSError as error:
            self.process_refused(record.uid, f"the program that runs local jobs cannot be started: {error}")
            return
        if record.pod.deleting:
            self._stop(record)  # it was asked to stop before there was anything to stop

    def _stop(self, record: Record) -> None:
        self.processes.signal(record.uid, signals.SIGTERM)
        self._kill_after(record, seconds=record.spec.stop_grace_seconds)

    def _kill_after(self, record: Record, *, seconds: float) -> None:
        if record.uid in self._kills:
            self._kills[record.uid].cancel()
        self._kills[record.uid] = asyncio.get_running_loop().call_later(
            seconds, self.processes.signal, record.uid, signals.SIGKILL
        )

    def _set_job(self, record: Record, job: JobFacts) -> None:
        record.job = replace(job, resource_version=self.next_version())
        self._save(record)
        self.job_feed.publish(_seen_job(record))

    def _set_pod(self, record: Record, pod: PodFacts) -> None:
        record.pod = replace(pod, resource_version=self.next_version())
        self._save(record)
        self.pod_feed.publish(_seen_pod(record))

    def _save(self, record: Record) -> None:
        try:
            self._folder.save(record)
        except OSError as error:
            # What happened has happened and is told; only after a restart of ours would the older record speak.
            log.error("local jobs: a record cannot be written", uid=record.uid, error=str(error))

    def _conclude(self, record: Record, pod: PodFacts) -> None:
        """Set the final facts of a pod, and of its Job unless that is being deleted."""
        succeeded = pod.phase == "Succeeded"
        record.pod = replace(pod, resource_version=self.next_version())
        tell_job = not record.job_gone and not record.job.deleting
        if tell_job:
            job = process_facts.job_ended(record.job, succeeded=succeeded, at=self._clock.now())
            record.job = replace(job, resource_version=self.next_version())
        self._save(record)
        self.pod_feed.publish(_seen_pod(record))
        if tell_job:
            self.job_feed.publish(_seen_job(record))

    def _finish(self, record: Record, pod: PodFacts) -> None:
        """Conclude a job that had a slot, and give the slot to the next."""
        self._running.discard(record.uid)
        self._ended.set()
        timer = self._kills.pop(record.uid, None)
        if timer is not None:
            timer.cancel()
        self._cut_log(record.uid)
        self._conclude(record, pod)
        if record.pod.deleting:
            self._forget(record)
        self._fill_slots()

    def _drop_job(self, record: Record) -> None:
        record.job_gone = True
        del self.uid_by_name[record.namespace, record.cluster_name]
        record.job = replace(record.job, resource_version=self.next_version())
        self._save(record)
        self.job_feed.publish(gone(_seen_job(record)))

    def _forget(self, record: Record) -> None:
        """Remove a job of which nothing runs: its pod first, then the Job, then what is on disk."""
        if record.uid in self._queue:
            self._queue.remove(record.uid)
        if record.pod.phase:
            record.pod = replace(record.pod, resource_version=self.next_version(), deleting=True)
            self.pod_feed.publish(gone(_seen_pod(record)))
        if not record.job_gone:
            self._drop_job(record)
        del self.by_uid[record.uid]
        self._times.pop(record.uid, None)
        del self.uid_by_pod[record.namespace, record.pod.name]
        self._spawn(asyncio.to_thread(self._folder.remove, record.uid))

    # -- background --------------------------------------------------------------------------------------------------

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _finish_tasks(self) -> None:
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _keep_caps(self) -> None:
        while True:
            await asyncio.sleep(CAP_SECONDS)
            for uid in list(self._running):
                self._cut_log(uid)

    def _cut_log(self, uid: str) -> None:
        with contextlib.suppress(OSError):
            path = self._folder.log_path(uid)
            self.times_of(uid).note(min(path.stat().st_size, self._log_max_bytes), self._clock.now())
            log_files.cut(path, cap_bytes=self._log_max_bytes)


def _seen_job(record: Record) -> SeenJob:
    return SeenJob(job_id=record.job_id, attempt=record.attempt, facts=record.job)


def _seen_pod(record: Record) -> SeenPod:
    return SeenPod(job_id=record.job_id, attempt=record.attempt, facts=record.pod)
