"""Plans of the log-collector's claim: it reads what can be claimed, while 30,000 attempts run and 60,000 have ended."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

import asyncpg
import pytest

from kube_job_runner.adapters.postgres import statements
from kube_job_runner.adapters.postgres.pool import open_pool
from tests.support.postgres import Server, execute, in_other_loop

OLD = 60_000
LIVE, ENDED, STOPPING, WANTED = 30_000, 20, 10, 10
_ID = "('0190b5b0' || lpad(to_hex(n), 24, '0'))::uuid"  # as real ones are: what ended long ago comes first
FILL = (
    f"""
INSERT INTO jobs (id, state, version, attempt, priority, name, queue, namespace, owner, created_at, due_at, finished_at)
SELECT {_ID}, 'succeeded', 5, 1, 0, 'job', 'q', 'default', 'owner', now(), now(), now()
FROM generate_series(1, {OLD}) AS n
""",
    f"""
INSERT INTO attempts (job_id, number, namespace, cluster_name, pod_name, cluster_uid, started_at, decided_at, gone_at)
SELECT {_ID}, 1, 'default', 'c', 'p', 'u', now(), now(), now() FROM generate_series(1, {OLD}) AS n
""",
    f"""
INSERT INTO attempt_logs (job_id, attempt, status, done_at)
SELECT {_ID}, 1, 'stored', now() FROM generate_series(1, {OLD}) AS n
""",
    f"""
INSERT INTO jobs (id, state, version, attempt, priority, name, queue, namespace, owner, created_at, due_at, admitted_at,
                  started_at, next_check_at)
SELECT {_ID}, CASE WHEN n <= {OLD + STOPPING} THEN 'stopping' ELSE 'running' END, 5, 1, 0, 'job', 'q', 'default', 'owner', now(),
       now(), now(), now() - interval '1 hour', now() + interval '1 day'
FROM generate_series({OLD + 1}, {OLD + LIVE}) AS n
""",
    f"""
INSERT INTO attempts (job_id, number, namespace, cluster_name, pod_name, cluster_uid, started_at)
SELECT {_ID}, 1, 'default', 'c', 'p', 'u', now() - interval '1 hour' FROM generate_series({OLD + 1}, {OLD + LIVE}) AS n
""",
    f"""
INSERT INTO attempt_logs (job_id, attempt, status, wanted_at)
SELECT {_ID}, 1, 'following', CASE WHEN n > {OLD + STOPPING} AND n <= {OLD + STOPPING + WANTED} THEN now() + interval '1 hour' END
FROM generate_series({OLD + 1}, {OLD + LIVE}) AS n
""",
    f"""
UPDATE attempts SET decided_at = now()
WHERE job_id IN (SELECT {_ID} FROM generate_series({OLD + LIVE - ENDED + 1}, {OLD + LIVE}) AS n)
""",
)
LOGS = statements.load("logs")


@pytest.fixture(scope="module")
def filled_url(pg_server: Server) -> Iterator[str]:
    """A database with many running attempts, and a few that ended, are being stopped, or are read."""
    url = pg_server.create_database()
    in_other_loop(execute(url, *FILL, LOGS["mark_ended"], "VACUUM ANALYZE"))
    yield url
    pg_server.drop_database(url)


def claimed(url: str, *, ended: int, follow: int) -> tuple[int, int, str]:
    """Claim, and undo it; return how many attempts were claimed, how many rows were read for it, and the plan."""

    async def explain() -> str:
        pool = await open_pool(url, size=1)

        async def work(connection: asyncpg.Connection[Any] | Any) -> str:
            transaction = connection.transaction()
            await transaction.start()
            try:
                arguments = (uuid.uuid4(), 30.0, ended, follow, 5.0)
                return str(await connection.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {LOGS['claim']}", *arguments))
            finally:
                await transaction.rollback()

        try:
            return await pool.run(work)
        finally:
            await pool.close()

    text = in_other_loop(explain())
    top = json.loads(text)[0]["Plan"]
    return round(top["Actual Rows"]), round(read(top)), text


def read(plan: dict[str, Any]) -> float:
    """Return the rows that the scans of a plan gave or filtered out, and the lookups that they made."""
    below = sum(read(part) for part in plan.get("Plans", ()))
    if "Scan" not in plan["Node Type"] or plan["Node Type"] in ("CTE Scan", "Subquery Scan"):
        return below
    rows = plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0) + plan.get("Rows Removed by Index Recheck", 0)
    return below + plan["Actual Loops"] * max(1, rows)


@pytest.mark.parametrize(
    ("ended", "follow", "expected"),
    [
        pytest.param(64, 0, ENDED, id="no room to follow"),
        pytest.param(64, 200, ENDED + 200, id="room to follow 200 of those that run"),
        pytest.param(0, 5, 5, id="room to follow a few"),
        pytest.param(0, 0, 0, id="no room at all"),
    ],
)
def test_a_claim_costs_what_it_claims_whatever_the_number_of_live_attempts(
    filled_url: str, ended: int, follow: int, expected: int
) -> None:
    rows, rows_read, text = claimed(filled_url, ended=ended, follow=follow)
    assert rows == expected
    assert rows_read <= 100 + 10 * expected, f"{rows_read} rows read:\n{text}"
