"""Tables and the domain's types: every column exists, has its type, and holds the field of its name."""

from __future__ import annotations

import itertools
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from kube_job_runner.adapters.postgres import Postgres, rows
from kube_job_runner.adapters.postgres.columns import Column, Columns
from kube_job_runner.domain.facts import AttemptFacts, JobFacts
from kube_job_runner.domain.job import Anomaly, Attempt, CancelRequest, Job, Marks, Policy, Transition, Verdict
from kube_job_runner.domain.logs.chunks import Chunk
from kube_job_runner.domain.states import State
from kube_job_runner.ports import Change, LogWrite, Submission, Token
from tests.support.postgres import fetch, make_attempt, make_change, make_submission, store_jobs

NOW = datetime.now(UTC).replace(microsecond=0)
HOUR = timedelta(hours=1)
OTHER_NAMES = {
    "cancel_requested_at": "at",
    "cancel_by": "by",
    "cancel_reason": "reason",
    "cancel_grace_seconds": "grace_seconds",
    "bytes": "size_bytes",
}
"""The columns whose field has another name."""
LOG_KEY = (Column("job_id", "uuid", key=True), Column("attempt", "integer", key=True))
TABLES: dict[str, tuple[Column, ...]] = {
    "jobs": (*rows.JOBS.columns, *rows.CANCELS.columns),
    "attempts": rows.ATTEMPTS.columns,
    "transitions": rows.TRANSITIONS.columns,
    "anomalies": rows.ANOMALIES.columns,
    "log_chunks": (*LOG_KEY, *rows.CHUNKS.columns),
    "tokens": rows.TOKENS.columns,
}
TYPES: list[tuple[type[msgspec.Struct], Columns[Any], set[str]]] = [
    (Job, rows.JOBS, {"cancel"}),
    (CancelRequest, rows.CANCELS, set()),
    (Attempt, rows.ATTEMPTS, {"logs", "logs_lost"}),
    (Transition, rows.TRANSITIONS, set()),
    (Anomaly, rows.ANOMALIES, set()),
    (Chunk, rows.CHUNKS, set()),
    (Token, rows.TOKENS, set()),
]
CATALOG = """
SELECT a.attname AS name, format_type(a.atttypid, a.atttypmod) AS type,
       EXISTS (SELECT FROM pg_index i WHERE i.indrelid = a.attrelid AND i.indisprimary AND a.attnum = ANY(i.indkey)) AS key
FROM pg_attribute a WHERE a.attrelid = $1::text::regclass AND a.attnum > 0 AND NOT a.attisdropped"""


@pytest.mark.asyncio
@pytest.mark.parametrize("table", TABLES)
async def test_the_columns_are_those_of_the_catalog(database_url: str, table: str) -> None:
    catalog = {
        row["name"]: (row["type"].replace("timestamp with time zone", "timestamptz"), row["key"])
        for row in await fetch(database_url, CATALOG, table)
    }
    assert {column.name: (column.sql_type, column.key) for column in TABLES[table]} == catalog
    assert len(TABLES[table]) == len(catalog)


@pytest.mark.parametrize(("type_", "columns", "elsewhere"), TYPES, ids=[type_.__name__ for type_, _, _ in TYPES])
def test_every_field_has_the_column_of_its_name(
    type_: type[msgspec.Struct], columns: Columns[Any], elsewhere: set[str]
) -> None:
    assert {column.attribute for column in columns.columns} == set(type_.__struct_fields__) - elsewhere
    for column in columns.columns:
        assert column.attribute == OTHER_NAMES.get(column.name, column.name)


def distinct(columns: Columns[Any], **given: Any) -> dict[str, Any]:
    """Return a value for each field of these columns, each another one."""
    numbers = itertools.count(1)
    of_type: dict[str, Any] = {
        "uuid": lambda _column: uuid.uuid4(),
        "text": lambda column: f"the {column.name}",
        "bytea": lambda column: column.name.encode(),
        "timestamptz": lambda _column: NOW + timedelta(minutes=next(numbers)),
        "boolean": lambda _column: next(numbers) % 2 == 0,
    }
    made = {
        column.attribute: of_type.get(column.sql_type, lambda _column: next(numbers))(column)
        for column in columns.columns
    }
    return made | given


async def holds(url: str, table: str, columns: Columns[Any], item: Any) -> None:
    """Check that the one row of a table has in each column the field of its name."""
    [row] = await fetch(url, f"SELECT * FROM {table}")
    for column in columns.columns:
        value = getattr(item, OTHER_NAMES.get(column.name, column.name))
        if column.sql_type == "jsonb" and value is not None:
            assert msgspec.json.decode(row[column.name]) == msgspec.to_builtins(value), column.name
        else:
            assert row[column.name] == value, column.name


SUBMITTED = {"id", "name", "queue", "namespace", "priority", "owner", "labels", "policy", "created_at", "due_at"}
SUBMITTED |= {"next_check_at", "rerun_of", "traceparent"}
"""The columns of a job that its submit writes; a decision may write all others and the two times when something is due."""
DECIDED = {column.name for column in rows.JOBS.columns} - SUBMITTED | {"due_at", "next_check_at"}
ATTEMPT = {
    "number": 1,
    "verdict": Verdict(outcome=State.FAILED, reason="a"),
    "marks": Marks(pulling_at=NOW),
    "facts": AttemptFacts(job=JobFacts(uid="u")),
}


@pytest.mark.asyncio
async def test_a_submit_writes_each_field_in_its_column(pg: Postgres, database_url: str) -> None:
    columns = rows.JOBS.only(*SUBMITTED)
    job = Job(**distinct(columns, labels={"a": "b"}, policy=Policy(memory="1Gi"), created_at=NOW, due_at=NOW + HOUR))
    await pg.submit_store.insert_jobs([Submission(job=job, spec=b"{}")])
    await holds(database_url, "jobs", rows.JOBS, job)
    assert await pg.job_reader.get_job(job.id) == job


@pytest.mark.asyncio
async def test_a_commit_writes_each_field_in_its_column(pg: Postgres, database_url: str) -> None:
    [job] = await store_jobs(pg, make_submission())
    changed = msgspec.structs.replace(job, **distinct(rows.JOBS.only(*DECIDED), state=State.STARTING))
    attempt = Attempt(**distinct(rows.ATTEMPTS, job_id=job.id, **ATTEMPT))
    step = Transition(
        **distinct(rows.TRANSITIONS, job_id=job.id, from_state=State.QUEUED, to_state=State.STARTING, version=5)
    )
    anomaly = Anomaly(**distinct(rows.ANOMALIES, job_id=job.id))
    change = Change(
        expected_version=job.version, job=changed, attempts=(attempt,), transitions=(step,), anomalies=(anomaly,)
    )
    await fetch(database_url, "DELETE FROM transitions")
    assert await pg.process_store.commit([change], receipts={}) == {job.id}

    await holds(database_url, "jobs", rows.JOBS, changed)
    await holds(database_url, "attempts", rows.ATTEMPTS, attempt)
    await holds(database_url, "transitions", rows.TRANSITIONS, step)
    await holds(database_url, "anomalies", rows.ANOMALIES, anomaly)
    loaded = (await pg.process_store.load([job.id])).jobs[job.id]
    assert (loaded.job, loaded.attempts) == (changed, {1: attempt})
    assert await pg.job_reader.list_attempts(job.id) == [attempt]
    assert await pg.job_reader.list_transitions(job.id) == [step]
    assert await pg.job_reader.list_anomalies(job.id) == [anomaly]

    other = Attempt(**(distinct(rows.ATTEMPTS, job_id=job.id, **ATTEMPT) | {"node": "another", "memory": "2Gi"}))
    again = make_change(changed, State.RUNNING, attempts=(other,))
    assert await pg.process_store.commit([again], receipts={}) == {job.id}
    await holds(database_url, "attempts", rows.ATTEMPTS, other)


@pytest.mark.asyncio
async def test_a_chunk_is_written_with_each_field_in_its_column(pg: Postgres, database_url: str) -> None:
    [job] = await store_jobs(pg, make_submission())
    attempt = make_attempt(job, started_at=NOW, pod_name="p", cluster_uid="u", decided_at=NOW)
    await pg.process_store.commit([make_change(job, State.FAILED, attempts=(attempt,))], receipts={})
    token = uuid.uuid4()
    await pg.logs.claim(token=token, lease_seconds=60, ended_limit=9, follow_limit=9, follow_after_seconds=0)
    for seconds in (0, 1):
        chunk = Chunk(**(distinct(rows.CHUNKS) | {"mark": "", "open_bytes": seconds}))
        write = LogWrite(key=(job.id, 1), chunks=(chunk,))
        assert await pg.logs.append([write], token=token, cleanup_delay_seconds=0)
        await holds(database_url, "log_chunks", rows.CHUNKS, chunk)
        assert await pg.logs.read_chunks((job.id, 1), chunk.container, from_seq=0, limit=9) == [chunk]


@pytest.mark.asyncio
async def test_a_token_is_written_with_each_field_in_its_column(pg: Postgres, database_url: str) -> None:
    token = Token(**distinct(rows.TOKENS))
    await pg.token_store.add_token(token)
    await holds(database_url, "tokens", rows.TOKENS, token)
    assert await pg.token_store.list_tokens() == [token]
