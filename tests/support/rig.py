"""The product without its web server in one event loop: real PostgreSQL, a simulated or local cluster, real services."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any
from uuid import UUID

from kube_job_runner import ports
from kube_job_runner.adapters import postgres
from kube_job_runner.components import log_collector, messages_processor, sweeper, watchers
from kube_job_runner.domain.decide.ruleset import Rules
from kube_job_runner.domain.job import Attempt, Job, new_job
from kube_job_runner.domain.limits import AdmissionLimits, Bounds
from kube_job_runner.domain.spec.model import JobSpec
from kube_job_runner.domain.states import TERMINAL, State
from kube_job_runner.services.change_hub import ChangeHub
from kube_job_runner.services.collect import Collector
from kube_job_runner.services.container_reader import CollectPace
from kube_job_runner.services.intake import Submitter
from kube_job_runner.services.log_reading import LogRequest, LogService
from kube_job_runner.services.observe import Observer
from kube_job_runner.services.pipeline.processor import Processor
from kube_job_runner.services.sweep import Sweeper
from kube_job_runner.settings.groups import BatchSettings, CollectSettings, RetentionSettings, SweepSettings
from tests.support.clocks import SystemClock


class Rig:
    """Starts the services; tests submit jobs, read logs, and may stop and start the collector at any time.

    `apart` holds connections of single components to the database; tests and all other components use `pg`.
    """

    def __init__(
        self,
        pg: postgres.Postgres,
        cluster: ports.Cluster,
        *,
        logs: Any = None,
        rules: Rules | None = None,
        apart: Mapping[str, postgres.Postgres] | None = None,
        **collect: Any,
    ) -> None:
        self.pg = pg
        self.cluster = cluster
        self._apart = apart or {}
        web = self.of("web-server")
        self.logs = logs or web.logs
        self._collector_logs = logs or self.of("log-collector").logs
        self._sweeper_logs = logs or self.of("sweeper").logs
        self.clock = SystemClock()
        self.rules = rules or Rules()
        self.collect = {"poll_seconds": 0.2} | collect
        self._stop = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._collectors: list[tuple[asyncio.Event, asyncio.Task[None], Collector]] = []
        self._submitter = Submitter(web.submit_store)
        self._hub: ChangeHub[UUID] = ChangeHub(web.job_reader.versions, web.wakeup, self.clock)
        self._log_hub: ChangeHub[ports.LogKey] = ChangeHub(self.logs.log_versions, web.wakeup, self.clock, topic="logs")
        self.service = LogService(web.job_reader, self.logs, self.clock, hub=self._hub, log_hub=self._log_hub)

    def of(self, component: str) -> postgres.Postgres:
        """Return a component's connection to the database."""
        return self._apart.get(component, self.pg)

    @contextlib.asynccontextmanager
    async def running(self, *, collectors: int = 1) -> AsyncIterator[Rig]:
        clock = self.clock
        working, sweeping = self.of("messages-processor"), self.of("sweeper")
        jobs, pods = self.of("job-status-processor"), self.of("pod-events-processor")
        processor = Processor(
            store=working.process_store,
            queue=working.queue,
            cluster=self.cluster,
            clock=clock,
            rules=self.rules,
            limits=AdmissionLimits(),
            settings=BatchSettings(),
        )
        observers = [
            Observer(
                kind="job", events=self.cluster.watch_jobs(), store=jobs.observe_store, queue=jobs.queue, clock=clock
            ),
            Observer(
                kind="pod", events=self.cluster.watch_pods(), store=pods.observe_store, queue=pods.queue, clock=clock
            ),
        ]
        swept = Sweeper(store=sweeping.sweep_store, logs=self._sweeper_logs, clock=clock, settings=RetentionSettings())
        work = [
            messages_processor.run(processor, pipelines=1, stop=self._stop, drain_seconds=1),
            sweeper.run(swept, settings=SweepSettings(sweep_seconds=0.1), stop=self._stop),
            *(watchers.run(observer, stop=self._stop) for observer in observers),
        ]
        self._tasks = [asyncio.create_task(one) for one in work]
        for _ in range(collectors):
            self.start_collector()
        try:
            yield self
        finally:
            self._stop.set()
            await self.stop_collectors()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await self._hub.close()
            await self._log_hub.close()

    def start_collector(self, *, bounds: Bounds | None = None, **changes: Any) -> Collector:
        stop = asyncio.Event()
        given = self.collect | changes
        settings = {name: given.pop(name) for name in CollectSettings.__struct_fields__ if name in given}
        collector = Collector(
            store=self._collector_logs,
            cluster=self.cluster,
            wakeup=self.of("log-collector").wakeup,
            clock=self.clock,
            settings=CollectSettings(**settings),
            bounds=bounds or self.rules,
            pace=CollectPace(**given),
        )
        task = asyncio.create_task(log_collector.run(collector, stop=stop))
        self._collectors.append((stop, task, collector))
        return collector

    async def stop_collectors(self) -> None:
        for stop, task, _ in self._collectors:
            stop.set()
            await task
        self._collectors.clear()

    async def kill_collectors(self) -> None:
        """End the collectors at once, as SIGKILL does: what was not stored is lost."""
        for _, task, collector in self._collectors:
            dying = [task, *collector._tasks.values(), *collector._writer._commits._running]
            collector._store = collector._cluster = collector._writer._store = Gone()
            for attempt in collector._logs.values():
                attempt._store = Gone()
            while any(not one.done() for one in dying):
                for one in dying:
                    one.cancel()
                await asyncio.sleep(0)
            await asyncio.gather(*dying, return_exceptions=True)
        self._collectors.clear()

    async def submit(self, count: int = 1, **spec: Any) -> list[UUID]:
        ids = []
        for _ in range(count):
            job, encoded = new_job(
                JobSpec(**({"image": "busybox"} | spec)), owner="", default_namespace="work", now=self.clock.now()
            )
            ids.append(job.id)
            self._tasks.append(
                asyncio.create_task(self._submitter.submit(ports.Submission(job=job, spec=encoded)))  # type: ignore[arg-type]
            )
        return ids

    async def until(self, check: Callable[[], Any], *, what: str, timeout_seconds: float = 30) -> Any:
        """Return the first true answer; ask again at every change of a job or a log."""
        deadline = time.monotonic() + timeout_seconds
        while True:
            answer = await check()
            if answer:
                return answer
            assert time.monotonic() < deadline, f"not within {timeout_seconds} s: {what}"
            await self.pg.wakeup.wait("logs", timeout_seconds=0.05)

    async def job(self, job_id: UUID) -> Job:
        job = await self.pg.job_reader.get_job(job_id)
        assert job is not None
        return job

    async def attempt(self, job_id: UUID) -> Attempt:
        return (await self.pg.job_reader.list_attempts(job_id))[-1]

    async def until_state(self, job_id: UUID, *states: State) -> Job:
        wanted = states or tuple(TERMINAL)

        async def check() -> Job | None:
            job = await self.pg.job_reader.get_job(job_id)
            return job if job is not None and job.state in wanted else None

        found: Job = await self.until(check, what=f"job is {wanted}")
        return found

    async def until_logged(self, job_id: UUID, *, timeout_seconds: float = 30) -> Attempt:
        async def check() -> Attempt | None:
            attempts = await self.pg.job_reader.list_attempts(job_id)
            return attempts[-1] if attempts and attempts[-1].logs in ("stored", "lost") else None

        found: Attempt = await self.until(check, what="the log is done", timeout_seconds=timeout_seconds)
        return found

    async def read(self, job_id: UUID, **request: Any) -> bytes:
        chunks = await self.service.open(job_id, LogRequest(**request))
        return b"".join([chunk async for chunk in chunks])


class Gone:
    """A store or cluster that a killed process no longer reaches."""

    def __getattr__(self, name: str) -> Any:
        async def never(*_: Any, **__: Any) -> Any:
            await asyncio.get_running_loop().create_future()

        return never
