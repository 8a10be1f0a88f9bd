"""Plans of hot statements: each uses the index that was made for it. A small table would hide a wrong plan."""

from __future__ import annotations

import datetime as dt
import itertools
import re
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from kube_job_runner.adapters.postgres import rows, statements
from kube_job_runner.adapters.postgres.pool import open_pool
from kube_job_runner.adapters.postgres.stores import job_lists
from kube_job_runner.domain import names
from kube_job_runner.domain.states import State
from kube_job_runner.ports import JobFilter
from tests.support.postgres import Server, execute, in_other_loop, make_job

ROWS = 20_000
FILL = f"""
INSERT INTO jobs (id, state, version, attempt, priority, name, queue, namespace, owner, labels, policy, created_at,
                  due_at, finished_at, next_check_at, reason, rerun_of)
SELECT (lpad(to_hex((extract(epoch FROM now()) * 1000)::bigint - n * 60000), 12, '0') || '7' || lpad(to_hex(n), 19, '0'))::uuid,
       CASE WHEN n % 50 = 0 THEN 'failed' WHEN n % 97 = 0 THEN 'queued' WHEN n % 89 = 0 THEN 'running' ELSE 'succeeded' END,
       1, 1, 0, 'name-' || n % 500, 'queue-' || n % 40, 'default', 'owner',
       CASE WHEN n % 3 = 0 THEN '{{}}'::jsonb ELSE jsonb_build_object('team', 'team-' || n % 300, 'tier', 'x') END, '{{}}',
       now() - n * interval '1 minute', now(),
       CASE WHEN n % 97 <> 0 AND n % 89 <> 0 THEN now() - n * interval '1 minute' END,
       CASE WHEN n % 97 = 0 OR n % 89 = 0 THEN now() + (n - 100) * interval '1 minute' END,
       CASE WHEN n % 50 = 0 THEN 'Reason' || n % 37 ELSE '' END,
       CASE WHEN n % 30 = 0 THEN ('00000000-0000-0000-0000-' || lpad(to_hex(n % 200), 12, '0'))::uuid END
FROM generate_series(1, {ROWS}) AS n;
INSERT INTO job_specs SELECT id, '{{}}' FROM jobs;
INSERT INTO attempts (job_id, number, namespace, cluster_name, pod_name, cluster_uid, gone_at)
SELECT id, 1, 'default', 'c', 'p', 'u', CASE WHEN state = 'succeeded' THEN now() END FROM jobs;
INSERT INTO transitions (job_id, at, version, attempt, to_state) SELECT id, now(), 1, 0, 'queued' FROM jobs;
INSERT INTO messages (priority, available_at, body)
SELECT CASE WHEN n % 2 = 0 THEN 1000 ELSE n % 5 END, now() + (n % 100 - 50) * interval '1 second', 'x'
FROM generate_series(1, {ROWS}) AS n;
INSERT INTO anomalies (job_id, at, attempt, kind, detail) SELECT id, now(), 1, 'k', 'd' FROM jobs WHERE state <> 'succeeded';
INSERT INTO idempotency_keys (owner, key, created_at, job_id, request_hash, response)
SELECT 'owner', 'key-' || n, now() - n * interval '1 minute', gen_random_uuid(), 'x', 'y' FROM generate_series(1, {ROWS}) AS n;
INSERT INTO attempt_logs (job_id, attempt, done_at, status)
SELECT id, 1, CASE WHEN finished_at IS NOT NULL THEN now() END,
       CASE WHEN finished_at IS NOT NULL THEN 'stored' ELSE '' END
FROM jobs WHERE state <> 'queued';
INSERT INTO log_chunks (job_id, attempt, container, seq, first_line, lines, first_byte, bytes, open_bytes, continues, sealed,
                        first_stamp, last_stamp, data)
SELECT id, 1, 'main', seq, seq * 100, 100, seq * 1000, 1000, 0, false, true, seq * 1000, seq * 1000 + 999, 'x'
FROM jobs, generate_series(1, 8) AS seq;
INSERT INTO dead_letters (message_id, sent_at, died_at, deliveries, priority, body, error)
SELECT n, now(), now() - (20000 - n) * interval '1 minute', 5, 0, 'x', 'e' FROM generate_series(1, 20000) AS n;
INSERT INTO tokens (token_hash, name, prefix) SELECT sha256(n::text::bytea), 't', 'p' FROM generate_series(1, 3000) AS n;
"""

PROCESS, QUEUE = statements.load("process"), statements.load("queue")
RECONCILE, OBSERVE = statements.load("reconcile"), statements.load("observe")
LOGS = statements.load("logs")
READ, SUBMIT = statements.load("read"), statements.load("submit")
SWEEP, HEALTH, TOKENS = statements.load("sweep"), statements.load("health"), statements.load("tokens")
DAYS_AGO = dt.datetime.now(dt.UTC) - dt.timedelta(days=13)
HOURS_AGO = dt.datetime.now(dt.UTC) - dt.timedelta(hours=5)
AN_ID = names.new_job_id(DAYS_AGO)
SOME = [uuid.UUID(int=n) for n in range(200)]


@pytest.fixture(scope="module")
def filled_url(pg_server: Server) -> Iterator[str]:
    """A database with some thousand rows in each table."""
    url = pg_server.create_database()
    in_other_loop(execute(url, FILL, "ANALYZE"))
    yield url
    pg_server.drop_database(url)


def plan(url: str, statement: str, *arguments: Any) -> str:
    """Return the plan of a statement, with the settings of our own connections."""

    async def explain() -> list[Any]:
        pool = await open_pool(url, size=1)
        try:
            return await pool.fetch(f"EXPLAIN {statement}", *arguments)
        finally:
            await pool.close()

    return "\n".join(row[0] for row in in_other_loop(explain()))


def check(text: str, *indexes: str) -> None:
    """Fail unless the plan uses all these indexes and reads no table from end to end."""
    for index in indexes:
        assert re.search(rf"\b{index}\b", text), f"{index} is not used:\n{text}"
    assert not re.search(
        r"Seq Scan on (jobs|job_specs|attempts|anomalies|messages|dead_letters|idempotency_keys|tokens|attempt_logs|"
        r"log_chunks)\b",
        text,
    ), text


@pytest.mark.parametrize(
    ("statement", "arguments", "indexes"),
    [
        pytest.param(QUEUE["receive"], (200, 60.0, uuid.uuid4()), ("messages_ready", "messages_pkey"), id="receive"),
        pytest.param(QUEUE["ack"], (list(range(1, 200)), SOME[1:]), ("messages_pkey",), id="ack"),
        pytest.param(QUEUE["extend"], (list(range(1, 200)), SOME[1:], 9.0, []), ("messages_pkey",), id="extend"),
        pytest.param(QUEUE["dead_letter"], ([5], SOME[:1], "e"), ("messages_pkey",), id="dead_letter"),
        pytest.param(PROCESS["attempts_of"], (SOME,), ("attempts_pkey",), id="attempts_of"),
        pytest.param(PROCESS["load"], (SOME,), ("jobs_pkey", "job_specs_pkey", "attempts_pkey"), id="load"),
        pytest.param(PROCESS["lock_jobs"], (SOME,), ("jobs_pkey",), id="lock_jobs"),
        pytest.param(OBSERVE["known_cluster_jobs"], (), ("attempts_in_cluster",), id="known_cluster_jobs"),
        pytest.param(OBSERVE["known_pods"], (), ("attempts_in_cluster",), id="known_pods"),
        pytest.param(READ["get_job"], (SOME[0],), ("jobs_pkey",), id="get_job"),
        pytest.param(READ["get_spec"], (SOME[0],), ("job_specs_pkey",), id="get_spec"),
        pytest.param(READ["list_attempts"], (SOME[0],), ("attempts_pkey",), id="list_attempts"),
        pytest.param(READ["list_transitions"], (SOME[0],), (r"transitions_20\d\d_\d\d_pkey",), id="list_transitions"),
        pytest.param(READ["list_anomalies"], (SOME[0],), ("anomalies_pkey",), id="list_anomalies"),
        pytest.param(READ["versions"], (SOME,), ("jobs_pkey",), id="versions"),
        pytest.param(SUBMIT["read_keys"], (["owner"], ["key-7"]), ("idempotency_keys_pkey",), id="read_keys"),
        pytest.param(SUBMIT["request_cancel"], (SOME[0], "", "", None, 30), ("jobs_pkey",), id="request_cancel"),
        pytest.param(SWEEP["due_jobs"], (100, 60.0), ("jobs_to_check", "jobs_pkey"), id="due_jobs"),
        pytest.param(
            SWEEP["expire_idempotency_keys"], (13 * 86_400.0, 100), ("idempotency_keys_by_age",), id="expire_keys"
        ),
        pytest.param(
            SWEEP["old_transitions"],
            (86_400.0, 100, uuid.UUID(int=0)),  # of so many jobs that ended, those of the page are found by their ids
            (r"transitions_20\d\d_\d\d_pkey", "jobs_pkey"),
            id="old_transitions",
        ),
        pytest.param(SWEEP["old_dead_letters"], (13 * 86_400.0, 100), ("dead_letters_pkey",), id="old_dead_letters"),
        pytest.param(SWEEP["old_jobs"], (13 * 86_400.0, 100), ("jobs_finished",), id="old_jobs"),
        pytest.param(
            SWEEP["delete_jobs"],
            (SOME,),
            ("jobs_pkey", "job_specs_pkey", "attempts_pkey"),
            id="delete",
        ),
        pytest.param(
            RECONCILE["recorded_cluster_jobs"], (AN_ID, 1, 1000), ("attempts_in_cluster",), id="recorded_cluster_jobs"
        ),
        pytest.param(RECONCILE["claims"], (SOME, [1] * 200), ("jobs_pkey", "attempts_pkey"), id="claims"),
        pytest.param(HEALTH["live_jobs"], (1000,), ("jobs_by_state",), id="live_jobs"),
        pytest.param(
            LOGS["claim"],
            (AN_ID, 30.0, 64, 200, 5.0),
            (
                "attempt_logs_ended",
                "attempt_logs_wanted",
                "attempt_logs_undone",
                "attempts_pkey",
                "jobs_by_state",
                "jobs_pkey",
            ),
            id="log_claim",
        ),
        pytest.param(LOGS["work"], (SOME, [1] * 200, AN_ID), ("attempts_pkey", "jobs_pkey"), id="log_work"),
        pytest.param(LOGS["renew"], (SOME, [1] * 200, AN_ID, 30.0), ("attempt_logs_pkey",), id="log_renew"),
        pytest.param(LOGS["log_versions"], (SOME, [1] * 200), ("attempt_logs_pkey",), id="log_versions"),
        pytest.param(LOGS["log_state"], (AN_ID, 1), ("attempt_logs_pkey",), id="log_state"),
        pytest.param(LOGS["read_chunks"], (AN_ID, 1, "main", 3, 16), ("log_chunks_pkey",), id="read_chunks"),
        pytest.param(LOGS["chunk_of_line"], (AN_ID, 1, "main", 300), ("log_chunks_pkey",), id="chunk_of_line"),
        pytest.param(LOGS["chunk_of_stamp"], (AN_ID, 1, "main", 300), ("log_chunks_pkey",), id="chunk_of_stamp"),
        pytest.param(LOGS["stored"], (AN_ID, 1, "main"), ("log_chunks_pkey",), id="log_stored"),
        pytest.param(LOGS["chunks_since"], (AN_ID, 1, "main", 300), ("log_chunks_pkey",), id="chunks_since"),
        pytest.param(LOGS["containers"], (AN_ID, 1), ("log_chunks_pkey",), id="log_containers"),
        pytest.param(LOGS["old_chunks"], (13 * 86_400.0, 100), ("jobs_finished", "log_chunks_pkey"), id="old_chunks"),
        pytest.param(TOKENS["find_token"], (b"x",), ("tokens_pkey",), id="find_token"),
    ],
)
def test_hot_statements(filled_url: str, statement: str, arguments: tuple[Any, ...], indexes: tuple[str, ...]) -> None:
    check(plan(filled_url, statement, *arguments), *indexes)


@pytest.mark.parametrize(
    ("filters", "indexes"),
    [
        ({}, ("jobs_pkey",)),
        ({"before_id": AN_ID}, ("jobs_pkey",)),
        ({"states": (State.FAILED,)}, ("jobs_by_state",)),
        ({"states": (State.QUEUED, State.RUNNING, State.STOPPING)}, ("jobs_by_state",)),
        ({"queue": "queue-7"}, ("jobs_by_queue",)),
        ({"namespace": "namespace-7"}, ("jobs_by_namespace",)),
        ({"reason": "Reason7"}, ("jobs_by_reason",)),
        ({"reason": "Reason7", "before_id": AN_ID}, ("jobs_by_reason",)),
        ({"rerun_of": uuid.UUID(int=7)}, ("jobs_by_rerun",)),
        ({"name": "name-7"}, ("jobs_by_name",)),
        ({"name": "name-7", "before_id": AN_ID}, ("jobs_by_name",)),
        ({"labels": (("team", "in", ("team-7", "team-8")),)}, ("jobs_by_label",)),
        ({"labels": (("team", "in", tuple(f"team-{n}" for n in range(250, 1050))),)}, ()),
        ({"labels": (("no-such-key", "exists", ()),)}, ("jobs_by_label",)),
        ({"created_before": DAYS_AGO}, ("jobs_pkey",)),
        ({"created_after": HOURS_AGO}, ("jobs_pkey",)),
    ],
    ids=",".join,
)
def test_lists(filled_url: str, filters: dict[str, Any], indexes: tuple[str, ...]) -> None:
    statement, arguments = job_lists.query(JobFilter(**filters))
    check(plan(filled_url, statement, *arguments), *indexes)


def test_a_label_with_many_values_is_one_condition(filled_url: str) -> None:
    """No row is compared with the values one by one: a page of nothing reads each row once."""
    values = tuple(f"none-{n}" for n in range(800))
    statement, arguments = job_lists.query(JobFilter(labels=(("team", "in", values),)))
    assert statement.count("$") == len(arguments) == 4
    text = plan(filled_url, statement, *arguments)
    check(text)
    assert " OR " not in text


@pytest.mark.parametrize(
    "filters",
    [{}, {"queue": "queue-7"}, {"reason": "Reason7"}, {"states": (State.FAILED,)}, {"states": tuple(State)}],
    ids=str,
)
def test_a_page_is_read_in_order(filled_url: str, filters: dict[str, Any]) -> None:
    """The rows come from the index newest first, so a page costs the same however many jobs match."""
    statement, arguments = job_lists.query(JobFilter(**filters, limit=5))
    text = plan(filled_url, statement, *arguments)
    check(text)
    assert not re.search(r"-> +Sort\b|^Sort\b", text), text


def test_a_change_of_a_job_finds_its_row_by_key(filled_url: str) -> None:
    jobs = [make_job(id=job_id) for job_id in SOME]
    nothing = [columns.encode([]) for columns in (rows.TRANSITIONS, rows.ANOMALIES, rows.MESSAGES)]
    parameters = [[1], SOME[:1], ["kjr_jobs"], *rows.JOB_CHANGES.encode(jobs), *itertools.chain(*nothing)]
    text = plan(filled_url, PROCESS["apply"], *parameters)
    check(text, "jobs_pkey", "messages_pkey")


def test_delayed_urgent_messages_are_not_walked_over(filled_url: str) -> None:
    """The condition on the time must be one of the index, per priority, not a filter over all rows of a priority."""
    text = plan(filled_url, QUEUE["receive"], 10, 60.0, uuid.uuid4())
    assert re.search(r"Index Cond: \(\(priority = levels\.priority\) AND \(available_at <= now\(\)\)\)", text), text
