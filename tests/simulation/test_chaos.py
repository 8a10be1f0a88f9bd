"""The pipeline through chaos: calls that fail before or after they took effect, processors that die, watches that break.

The store and the queue are real, the cluster is simulated, the faults come from a seed. The cluster's own history is the
evidence: each attempt was created once, and at the end nothing runs that the product reported as ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from uuid import UUID

import pytest

from kube_job_runner.adapters import postgres
from kube_job_runner.adapters.simulated import Fault, SimulatedCluster, SteppedClock
from kube_job_runner.adapters.simulated.simulated_time import EPOCH
from kube_job_runner.domain.decide.ruleset import Rules
from kube_job_runner.domain.errors import TemporaryError
from kube_job_runner.domain.job import new_job
from kube_job_runner.domain.limits import AdmissionLimits, Bounds
from kube_job_runner.domain.spec.model import JobSpec, Retry
from kube_job_runner.domain.states import TERMINAL, State
from kube_job_runner.ports import Submission
from kube_job_runner.services.collect import Collector
from kube_job_runner.services.container_reader import CollectPace
from kube_job_runner.services.pipeline.processor import Processor
from kube_job_runner.services.sweep import Sweeper
from kube_job_runner.settings.groups import BatchSettings, CollectSettings, RetentionSettings
from tests.support import simulation
from tests.support.clocks import LoopClock
from tests.support.history import History, violations

JOBS = 12
LIMITS = AdmissionLimits(total=5, queues={"narrow": 2})
RULES = Rules(
    graces={"image": 0.0},
    evidence_grace_seconds=20.0,
    cleanup_delay_seconds=0.0,
    recheck_seconds=0.3,
    pod_unseen_bound_seconds=0.2,
    pod_gone_bound_seconds=1.0,
    create_retry_max_seconds=0.2,
    create_settle_seconds=0.2,
    log_deadline_seconds=0.5,
    log_stop_bound_seconds=0.2,
    log_recheck_seconds=0.1,
)


class ProcessorClock(LoopClock):
    """Both clocks follow the event loop: a lease of 0.4 s does not end sooner on a slow machine."""

    def now(self) -> dt.datetime:
        return EPOCH + dt.timedelta(seconds=self.monotonic())


class Chaos:
    """Everything wired together, with a seeded source of trouble."""

    def __init__(self, pg: postgres.Postgres, seed: int) -> None:
        self.random = random.Random(seed)
        self.pg = pg
        self.cluster = SimulatedCluster(clock=SteppedClock(), seed=seed)
        self.cluster.faults.choose = self.choose
        self.calm = False
        self.clock = LoopClock()
        self.processors = [
            Processor(
                store=pg.process_store,
                queue=pg.queue,
                cluster=self.cluster,
                clock=ProcessorClock(),
                rules=RULES,
                limits=LIMITS,
                settings=BatchSettings(batch_size=5, lease_seconds=0.4, max_deliveries=500),
                admit_seconds=0.2,
            )
            for _ in range(2)
        ]
        self.over_limit: list[str] = []
        self.sweeper = Sweeper(store=pg.sweep_store, logs=pg.logs, clock=self.clock, settings=RetentionSettings())

    def collector(self) -> Collector:
        """A log-collector that gives up no sooner than the jobs, and whose lease ends soon when it dies."""
        return Collector(
            store=self.pg.logs,
            cluster=self.cluster,
            wakeup=self.pg.wakeup,
            clock=self.clock,
            settings=CollectSettings(follow_after_seconds=0.2),
            bounds=Bounds(cleanup_delay_seconds=0.0),
            pace=CollectPace(lease_seconds=0.5, poll_seconds=0.05, retry_seconds=0.05, retry_max_seconds=0.2),
        )

    async def collect(self) -> None:
        """Collect logs; sometimes the collector is stopped in the middle, and another continues."""
        while True:
            collector = self.collector()
            lasts_seconds = 60.0 if self.calm else self.random.uniform(0.05, 0.5)
            try:
                async with asyncio.timeout(lasts_seconds):
                    while True:
                        with contextlib.suppress(TemporaryError):
                            await asyncio.sleep(await collector.run_once())
            except TimeoutError:
                pass
            finally:
                await collector.close()

    def choose(self, operation: str) -> Fault | None:
        if self.calm or self.random.random() > 0.3:
            return None
        error = TemporaryError(f"{operation}: connection reset", delay_seconds=0.05)
        return Fault(error=error, after=self.random.random() < 0.5)

    async def process(self, processor: Processor) -> None:
        """Work batch after batch; sometimes the processor dies in the middle of one, and another continues."""
        while True:
            with contextlib.suppress(TemporaryError, TimeoutError):
                dies_after = None if self.calm or self.random.random() > 0.3 else self.random.uniform(0, 0.03)
                async with asyncio.timeout(dies_after):
                    await processor.run_once(wait_seconds=0.05)

    async def trouble(self) -> None:
        """Let the cluster's time pass, sweep, and break watches."""
        while True:
            self.cluster.advance(0.2)
            await self.sweeper.run_once()
            await self.count()
            if not self.calm and self.random.random() < 0.1:
                self.cluster.disconnect_watches()
            await asyncio.sleep(0.01)

    async def count(self) -> None:
        """Check the rows against the limits (promise I11)."""
        rows = await self.pg.pool.fetch(
            "SELECT queue, count(*) AS jobs FROM jobs WHERE state IN ('starting', 'running', 'stopping')"
            " OR (state = 'queued' AND admitted_at IS NOT NULL) GROUP BY queue"
        )
        jobs = {row["queue"]: row["jobs"] for row in rows}
        if sum(jobs.values()) > LIMITS.total or jobs.get("narrow", 0) > 2:
            self.over_limit.append(f"I11: in flight {jobs}")

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        watchers = simulation.observers(
            self.cluster, store=self.pg.observe_store, queue=self.pg.queue, clock=self.clock
        )
        work = [watcher.run() for watcher in watchers]
        work += [self.process(processor) for processor in self.processors]
        work += [self.collect(), self.collect(), self.trouble()]
        async with simulation.running(self.cluster, work, expected=(TemporaryError,)):
            yield


def script(number: int) -> dict[str, str]:
    return [
        {"run": "1s", "log": "one\ntwo\n"},
        {"exit-code": "3", "log": "no end"},
        {"mode": "imagepull"},
        {"run": "forever", "log": "for ever\n"},
        {"mode": "stuck"},
        {"run": "2s", "exit-code": "1"},
    ][number % 6]


REASONS = ["Completed", "ApplicationExit", "ImageNotFound", "Cancelled", "Cancelled", "ApplicationExit"]


def submission(number: int) -> Submission:
    spec = JobSpec(
        image="registry.example.com/tool:1",
        command=("run",),
        queue="narrow" if number % 3 == 0 else "wide",
        priority=number % 2,
        annotations={f"kjr.test/{key}": value for key, value in script(number).items()},
        retry=Retry(attempts=1 + number % 2, backoff_seconds=0.1),
    )
    job, encoded = new_job(spec, owner="ann", default_namespace="default", now=dt.datetime.now(dt.UTC))
    return Submission(job=job, spec=encoded)


@pytest.mark.asyncio
@pytest.mark.parametrize("seed", range(12))
async def test_every_promise_holds_through_chaos(database_url: str, seed: int) -> None:
    pg = await postgres.connect(database_url, pool_size=12)
    chaos = Chaos(pg, seed)
    submissions = [submission(number) for number in range(JOBS)]
    ids = [each.job.id for each in submissions]
    try:
        async with chaos.running():
            await pg.submit_store.insert_jobs(submissions)
            for job_id in ids[3::6] + ids[4::6] + chaos.random.sample(ids, 3):
                await asyncio.sleep(chaos.random.uniform(0, 0.1))
                await pg.submit_store.request_cancel(job_id, by="ann", reason="chaos")
            await asyncio.sleep(1.0)
            chaos.calm = True
            await _until(lambda: _all_ended(pg, ids), what="every job has ended")
            await _until(lambda: _gone(chaos), what="nothing is left in the cluster")
            await _until(lambda: _logged(pg, ids), what="every log is stored or lost")
            history = await _history(pg, ids)
        assert violations(history) == []
        assert chaos.over_limit == []
        for number, job_id in enumerate(ids):
            ended = history.jobs[str(job_id)]
            assert ended["reason"] in (REASONS[number % 6], "Cancelled"), ended
        assert chaos.cluster.history.violations() == []
        assert max(chaos.cluster.history.creates.values(), default=0) <= 1
    finally:
        await pg.close()


async def _until(check: Callable[[], Awaitable[bool]], *, what: str) -> None:
    deadline = asyncio.get_running_loop().time() + 40
    while not await check():
        assert asyncio.get_running_loop().time() < deadline, f"not in time: {what}"
        await asyncio.sleep(0.05)


async def _all_ended(pg: postgres.Postgres, ids: list[UUID]) -> bool:
    jobs = [await pg.job_reader.get_job(job_id) for job_id in ids]
    return all(job is not None and job.state in TERMINAL for job in jobs)


async def _logged(pg: postgres.Postgres, ids: list[UUID]) -> bool:
    open_logs = await pg.pool.fetch("SELECT FROM attempt_logs WHERE done_at IS NULL AND job_id = ANY($1)", ids)
    return not open_logs


async def _gone(chaos: Chaos) -> bool:
    return chaos.cluster.history.alive_now == 0


async def _history(pg: postgres.Postgres, ids: list[UUID]) -> History:
    jobs = {}
    transitions = {}
    attempts = {}
    for job_id in ids:
        job = await pg.job_reader.get_job(job_id)
        assert job is not None
        jobs[str(job_id)] = {
            "state": job.state.value,
            "reason": job.reason,
            "explanation": job.explanation,
            "queue": job.queue,
        }
        transitions[str(job_id)] = [
            {
                "version": row.version,
                "from_state": row.from_state and row.from_state.value,
                "to_state": row.to_state.value,
                "at": row.at,
            }
            for row in await pg.job_reader.list_transitions(job_id)
        ]
        attempts[str(job_id)] = [
            {
                "number": one.number,
                "started_at": one.started_at,
                "delete_requested_at": one.delete_requested_at,
                "logs": one.logs,
                "logs_lost": one.logs_lost,
            }
            for one in await pg.job_reader.list_attempts(job_id)
        ]
        if job.state is State.CANCELLED:
            assert job.cancel is not None
    return History(
        acknowledged={str(job_id): None for job_id in ids},
        jobs=jobs,
        transitions=transitions,
        attempts=attempts,
        limits={"": LIMITS.total, **LIMITS.queues},
    )
