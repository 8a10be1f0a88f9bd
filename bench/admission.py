"""The cost of admission and of the place in line with a million queued jobs, with the product's statements and connections."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from uuid import UUID

import asyncpg

from bench import table
from kube_job_runner.adapters import postgres
from kube_job_runner.domain.job import Job
from kube_job_runner.domain.limits import AdmissionLimits
from kube_job_runner.domain.states import State
from tests.support.postgres import make_change

ROUNDS = 50
FILL = """
INSERT INTO jobs (id, state, version, attempt, priority, name, queue, namespace, owner, created_at, due_at, next_check_at)
SELECT ('0190b5b0' || lpad(to_hex(n), 24, '0'))::uuid, 'queued', 1, 0, n % 3, 'job',
       CASE WHEN n % 10 < 7 THEN 'full' WHEN n % 10 < 9 THEN 'etl' ELSE 'q' || n % 100 END, 'default', 'owner', now(),
       now() - interval '1 day' + n * interval '1 millisecond', now() + interval '1 day'
FROM generate_series(1, $1::integer) AS n
"""
PLACES = """
(SELECT id FROM jobs WHERE queue = $1 AND state = 'queued' ORDER BY priority DESC, due_at, id LIMIT 1)
UNION ALL (SELECT id FROM jobs WHERE queue = $1 AND state = 'queued' ORDER BY priority DESC, due_at, id OFFSET 5000 LIMIT 1)
UNION ALL (SELECT id FROM jobs WHERE queue = $1 AND state = 'queued' ORDER BY priority, due_at DESC, id DESC LIMIT 1)
"""


async def _fill(url: str, jobs: int) -> list[UUID]:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(FILL, jobs)
        await connection.execute('INSERT INTO job_specs SELECT id, \'{"image":"busybox:1"}\' FROM jobs')
        await connection.execute("VACUUM ANALYZE")
        return [row["id"] for row in await connection.fetch(PLACES, "etl")]
    finally:
        await connection.close()


async def _timed(
    title: str, call: Callable[[], Awaitable[str]], after: Callable[[], Awaitable[None]] | None = None
) -> list[str]:
    seconds = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        answer = await call()
        seconds.append(time.perf_counter() - began)
        if after is not None:
            await after()
    seconds.sort()
    return [title, f"{seconds[len(seconds) // 2] * 1000:.1f}", f"{seconds[-1] * 1000:.1f}", answer]


async def _measure(url: str, jobs: int) -> list[list[str]]:
    await postgres.migrate(url)
    first, middle, last = await _fill(url, jobs)
    pg = await postgres.connect(url, pool_size=4)
    limits = AdmissionLimits(total=500, queues={"full": 0})
    admitted: list[Job] = []

    async def standing(job_id: UUID) -> str:
        found = await pg.job_reader.queue_standing(job_id, limits)
        assert found is not None
        return f"{found.position:,}" + ("" if found.position_is_exact else " or later")

    async def admit(limits: AdmissionLimits) -> str:
        snapshot = await pg.process_store.admit(limits, limit=200, lease_seconds=60.0)
        admitted.extend(loaded.job for loaded in snapshot.jobs.values())
        return f"{len(snapshot.jobs)} jobs"

    async def end() -> None:
        await pg.process_store.commit([make_change(job, State.SUCCEEDED) for job in admitted], receipts={})
        admitted.clear()

    try:
        return [
            await _timed("place of the first", lambda: standing(first)),
            await _timed("place of the 5,001st", lambda: standing(middle)),
            await _timed("place of the last", lambda: standing(last)),
            await _timed("admit, every queue held", lambda: admit(AdmissionLimits(per_queue=0))),
            await _timed("admit 200, the longest queue held", lambda: admit(limits), end),
        ]
    finally:
        await pg.close()


def main(*, jobs: int = 1_000_000) -> None:
    """Measure and print."""
    folder = Path(tempfile.mkdtemp(prefix="kjr-bench-"))
    try:
        server = postgres.embedded.start(folder)
        try:
            rows = asyncio.run(_measure(server.url, jobs))
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    table.show(f"Admission with {jobs:,} queued jobs", ["call", "p50 ms", "max ms", "answer"], rows)
