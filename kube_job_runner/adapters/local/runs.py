"""The life of local runs: slots, processes, and the facts that follow from them.

`add` puts a run into the queue. When a slot is free, the shim starts its process, and its facts change as the process
starts and ends. `remove` stops the process, and forgets the run once nothing of it is left.
"""

import asyncio
import contextlib
import os
import platform
import signal as signals
from collections import deque
from collections.abc import Coroutine
from typing import Any

from msgspec.structs import replace

from kube_job_runner.adapters.inprocess import pod_states
from kube_job_runner.adapters.inprocess.captured_output import FileTimes
from kube_job_runner.adapters.local import launch, log_files, process_facts
from kube_job_runner.adapters.local.processes import Processes
from kube_job_runner.adapters.local.run_records import Folder, Record
from kube_job_runner.adapters.local.run_table import RunTable
from kube_job_runner.domain.facts import PodFacts
from kube_job_runner.ports import Clock
from kube_job_runner.telemetry import loggers

log = loggers.get_logger(__name__)

CLOSE_GRACE_SECONDS = 2.0
CAP_SECONDS = 1.0


class Runs:
    """All local runs, and the processes of those that have a slot."""

    def __init__(
        self,
        folder: Folder,
        *,
        clock: Clock,
        max_processes: int,
        log_max_bytes: int,
        account: launch.Account | None = None,
    ) -> None:
        self.table = RunTable(folder, clock=clock)
        self.processes = Processes(self, account=account)
        self.node = platform.node() or "localhost"
        self._folder = folder
        self._clock = clock
        self._account = account
        self._max_processes = max_processes
        self._log_max_bytes = log_max_bytes
        self._times: dict[str, FileTimes] = {}
        self._queue: deque[str] = deque()
        self._running: set[str] = set()
        self._kills: dict[str, asyncio.TimerHandle] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._caps: asyncio.Task[None] | None = None
        self._ended = asyncio.Event()
        self._closing = False

    # -- life --------------------------------------------------------------------------------------------------------

    def restore(self, found: list[Record]) -> None:
        """Take over the records of earlier runners. Waiting runs are queued; runs that had a process are lost."""
        for record in self.table.restore(found):
            if record.waits_for_slot:
                self._queue.append(record.uid)
            elif not record.pod.ended and not record.refused_config:
                self.table.conclude(record, self._lost(record, process_facts.STOPPED_MESSAGE))
        self._caps = asyncio.create_task(self._keep_caps(), name="local-log-caps")
        self._fill_slots()

    async def close(self) -> None:
        """Stop every process: SIGTERM, and SIGKILL after two seconds. On the next start these runs are lost."""
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

    # -- requests of the cluster -------------------------------------------------------------------------------------

    def add(self, record: Record) -> None:
        """Add a new run. It starts now or when a slot is free, first come, first served.

        Raises:
            OSError: it cannot be written to disk, and was not added.
        """
        self.table.add(record)
        self._queue.append(record.uid)
        self._fill_slots()
        if record.uid in self._queue:
            at = self._clock.now()
            self.table.set_pod(record, process_facts.waits_for_slot(record.pod, running=self._max_processes, at=at))

    def remove(self, record: Record, *, wait_for_pods: bool) -> None:
        """Stop the process and forget the run. With `wait_for_pods` its Job stays until the process has ended."""
        if not wait_for_pods:
            self.table.drop_job(record)
        elif not record.job.deleting:
            self.table.set_job(record, replace(record.job, deleting=True))
        if record.uid not in self._running:
            self._forget(record)
        elif not record.pod.deleting:
            self.table.set_pod(record, replace(record.pod, deleting=True))
            self._stop(record)

    def hurry(self, record: Record, *, grace_seconds: float) -> None:
        """Kill a process that is being stopped after this grace period instead of its own."""
        if record.uid in self._running and record.pod.deleting:
            self._kill_after(record, seconds=grace_seconds)

    def times_of(self, uid: str) -> FileTimes:
        """Return the times at which the log of a run grew."""
        if uid not in self._times:
            self._times[uid] = FileTimes(self._folder.log_path(uid).with_name("log.times"))
        return self._times[uid]

    # -- reports of the shim (`processes.Listener`) ------------------------------------------------------------------

    def process_started(self, uid: str) -> None:
        record = self.table.by_uid[uid]
        self.table.set_pod(record, pod_states.running(record.pod, at=self._clock.now()))

    def process_refused(self, uid: str, error: str) -> None:
        record = self.table.by_uid[uid]
        self._finish(record, process_facts.refused(record.pod, message=error, at=self._clock.now()))

    def process_ended(self, uid: str, *, code: int, signal: int) -> None:
        """Conclude a run by its exit code. While we close, an end is our own doing and is not recorded."""
        record = self.table.by_uid[uid]
        if self._closing and not record.pod.deleting:
            self._running.discard(uid)
            self._ended.set()
            return
        self._finish(record, process_facts.ended(record.pod, code=code, signal=signal, at=self._clock.now()))

    def process_lost(self, uid: str) -> None:
        log.error("local jobs: the shim died", action="local.run", uid=uid)
        record = self.table.by_uid[uid]
        self._finish(record, self._lost(record, process_facts.SHIM_LOST_MESSAGE))

    # -- steps -------------------------------------------------------------------------------------------------------

    def _lost(self, record: Record, message: str) -> PodFacts:
        return process_facts.lost(record.pod, message=message, at=self._clock.now())

    def _fill_slots(self) -> None:
        while self._queue and len(self._running) < self._max_processes and not self._closing:
            record = self.table.by_uid[self._queue.popleft()]
            planned = launch.plan(record.spec, self._account)
            pod = process_facts.scheduled(record.pod, node=self.node, at=self._clock.now())
            if isinstance(planned, launch.Launch):
                self._running.add(record.uid)
                self.table.set_pod(record, pod)
                self._spawn(self._launch(record, planned))
            elif planned.waits:
                pod = pod_states.waiting(pod, reason=planned.reason, message=planned.message)
                self.table.set_pod(record, pod)
            else:
                pod = process_facts.refused(pod, message=planned.message, at=self._clock.now())
                self.table.conclude(record, pod)

    async def _launch(self, record: Record, planned: launch.Launch) -> None:
        if self._closing:
            self._running.discard(record.uid)
            return
        try:
            if self._account is not None and planned.cwd is None:
                os.chown(self._folder.work_path(record.uid), self._account.uid, self._account.gid)
            await self.processes.start(
                record.uid,
                argv=planned.argv,
                env=planned.env,
                cwd=planned.cwd or self._folder.work_path(record.uid),
                log=self._folder.log_path(record.uid),
            )
        except OSError as error:
            self.process_refused(record.uid, f"the program that runs local jobs cannot be started: {error.strerror}")
            return
        if record.pod.deleting:
            self._stop(record)  # it was deleted before there was a process to stop

    def _stop(self, record: Record) -> None:
        self.processes.signal(record.uid, signals.SIGTERM)
        self._kill_after(record, seconds=record.spec.stop_grace_seconds)

    def _kill_after(self, record: Record, *, seconds: float) -> None:
        if record.uid in self._kills:
            self._kills[record.uid].cancel()
        self._kills[record.uid] = asyncio.get_running_loop().call_later(
            seconds, self.processes.signal, record.uid, signals.SIGKILL
        )

    def _finish(self, record: Record, pod: PodFacts) -> None:
        """Conclude a run that had a slot, and give the slot to the next one."""
        self._running.discard(record.uid)
        self._ended.set()
        timer = self._kills.pop(record.uid, None)
        if timer is not None:
            timer.cancel()
        self._cut_log(record.uid)
        self.table.conclude(record, pod)
        if record.pod.deleting:
            self._forget(record)
        self._fill_slots()

    def _forget(self, record: Record) -> None:
        if record.uid in self._queue:
            self._queue.remove(record.uid)
        self.table.forget(record)
        self._times.pop(record.uid, None)
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
