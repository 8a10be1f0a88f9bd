"""Plans of admission and of the place in the queue: they read only what they need, while 120,000 jobs wait."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import asyncpg
import pytest

from kube_job_runner.adapters.postgres import statements
from kube_job_runner.adapters.postgres.pool import open_pool
from kube_job_runner.domain.decide.admission import POSITION_MAX
from tests.support.postgres import Server, execute, in_other_loop

FULL = 120_000
FILL = f"""
INSERT INTO jobs (id, state, version, attempt, priority, name, queue, namespace, owner, created_at, due_at, admitted_at,
                  next_check_at)
SELECT ('0190b5b0' || lpad(to_hex(n), 24, '0'))::uuid, state, 1, 0, priority, 'job', queue, 'default', 'owner', now(),
       CASE WHEN state = 'queued' AND queue = 'backing-off' AND priority = 50 THEN now() + interval '1 day'
            ELSE now() - interval '1 day' + n * interval '1 millisecond' END,
       CASE WHEN state <> 'queued' THEN now() END, now() + interval '1 day'
FROM (
    SELECT n, 'queued' AS state, n % 5 AS priority, 'full' AS queue FROM generate_series(1, {FULL}) AS n
    UNION ALL SELECT {FULL} + n, 'running', 0, 'full' FROM generate_series(1, 300) AS n
    UNION ALL SELECT {FULL} + 1000 + n, 'queued', 50, 'backing-off' FROM generate_series(1, 20000) AS n
    UNION ALL SELECT {FULL} + 30000 + n, 'queued', 0, 'backing-off' FROM generate_series(1, 100) AS n
    UNION ALL SELECT {FULL} + 40000 + n, 'queued', n % 3, 'q' || n % 50 FROM generate_series(1, 1000) AS n
    UNION ALL SELECT {FULL} + 50000 + n, 'succeeded', 0, 'full' FROM generate_series(1, 20000) AS n
) AS made
"""
SPECS = "INSERT INTO job_specs SELECT id, '{}' FROM jobs"
LAST = f"('0190b5b0' || lpad(to_hex({FULL}), 24, '0'))::uuid"
ADMIT, STANDING = statements.load("process")["admit"], statements.load("read")["queue_standing"]


@pytest.fixture(scope="module")
def filled_url(pg_server: Server) -> Iterator[str]:
    """A database with a long line in one queue, and others beside it."""
    url = pg_server.create_database()
    in_other_loop(execute(url, FILL, SPECS, "VACUUM ANALYZE"))
    yield url
    pg_server.drop_database(url)


def explained(url: str, statement: str, *arguments: Any) -> tuple[str, int, int]:
    """Run a statement and undo it; return its plan as JSON text, how many pages it touched, and how many rows it gave."""

    async def explain() -> tuple[str, int, int]:
        pool = await open_pool(url, size=1)

        async def work(connection: asyncpg.Connection[Any] | Any) -> tuple[str, int, int]:
            transaction = connection.transaction()
            await transaction.start()
            try:
                text = await connection.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}", *arguments)
            finally:
                await transaction.rollback()
            top = json.loads(text)[0]["Plan"]
            return text, top["Shared Hit Blocks"] + top["Shared Read Blocks"], int(top["Actual Rows"])

        try:
            return await pool.run(work)
        finally:
            await pool.close()

    return in_other_loop(explain())


def check(text: str, *indexes: str) -> None:
    """Fail unless the plan uses these indexes and reads the table of jobs only through an index."""
    for index in indexes:
        assert f'"{index}"' in text, f"{index} is not used:\n{text}"
    assert scanned(json.loads(text)[0]["Plan"]) <= {"parked_namespaces"}, text  # it has a row per namespace, at most
    assert '"Bitmap Heap Scan"' not in text, text


def scanned(plan: dict[str, Any]) -> set[str]:
    """Return the tables that a plan reads as a whole."""
    found = {plan["Relation Name"]} if plan["Node Type"] == "Seq Scan" else set()
    return found.union(*(scanned(part) for part in plan.get("Plans", ())))


def test_an_admission_walks_over_neither_a_full_queue_nor_retries_that_are_not_due(filled_url: str) -> None:
    text, pages, admitted = explained(filled_url, ADMIT, 200, 500, 60.0, None, ["full"], [300], 0, None, 2000)
    check(text, "jobs_waiting", "jobs_in_flight", "jobs_pkey")
    assert admitted == 200
    assert pages < 20_000, f"{pages} pages"


def test_nothing_but_the_count_is_read_when_the_installation_is_full(filled_url: str) -> None:
    text, pages, admitted = explained(filled_url, ADMIT, 200, 300, 60.0, None, [], [], 0, None, 2000)
    check(text, "jobs_in_flight")
    assert admitted == 1, "the clock alone"
    assert pages < 700, f"{pages} pages"


MANY_QUEUES = """
INSERT INTO jobs (id, state, version, attempt, priority, name, queue, namespace, owner, created_at, due_at)
SELECT gen_random_uuid(), 'queued', 1, 0, n % 3, 'job', 'q' || n, 'default', 'owner', now(),
       now() - interval '1 day' + n * interval '1 millisecond'
FROM generate_series(1, 60000) AS n
"""


@pytest.fixture(scope="module")
def many_queues_url(pg_server: Server) -> Iterator[str]:
    """A database with one waiting job in each of many queues."""
    url = pg_server.create_database()
    in_other_loop(execute(url, MANY_QUEUES, SPECS, "VACUUM ANALYZE"))
    yield url
    pg_server.drop_database(url)


def test_an_admission_costs_what_it_admits_whatever_the_number_of_queues(many_queues_url: str) -> None:
    text, pages, admitted = explained(many_queues_url, ADMIT, 200, 500, 60.0, None, [], [], 0, None, 2000)
    check(text, "jobs_in_line", "jobs_pkey")
    assert admitted == 200
    assert pages < 20_000, f"{pages} pages"


def test_many_queues_behind_a_full_one_are_visited_in_steps(many_queues_url: str) -> None:
    """As many queues are closed as jobs may be in flight, and the front of the line belongs to them."""
    closed = [f"q{n}" for n in range(1, 6000)]
    limits = (closed, [0] * len(closed))
    text, pages, admitted = explained(many_queues_url, ADMIT, 200, 500, 60.0, None, *limits, 0, None, 2000)
    check(text, "jobs_in_line", "jobs_waiting")
    assert admitted == 200
    assert pages < 40_000, f"{pages} pages"


def test_the_place_in_line_costs_the_same_at_its_end(filled_url: str) -> None:
    text, pages, _ = explained(filled_url, STANDING.replace("$1", LAST).replace("$2", "$1"), POSITION_MAX)
    check(text, "jobs_waiting", "jobs_in_flight")
    assert pages < 1_500, f"{pages} pages"
