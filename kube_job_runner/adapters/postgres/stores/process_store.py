"""Work of the messages-processor in the store: load a batch of jobs, commit what was decided, admit waiting jobs."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec

from kube_job_runner.adapters.postgres import message_queue, rows, statements, wakeup
from kube_job_runner.adapters.postgres.pool import Connection, Pool
from kube_job_runner.adapters.postgres.stores.bound_cluster import PostgresBoundCluster
from kube_job_runner.domain.decide import cleanup, obstacles, parking
from kube_job_runner.domain.decide.parking import Trial
from kube_job_runner.domain.job import Attempt
from kube_job_runner.domain.limits import AdmissionLimits
from kube_job_runner.ports import Change, LoadedJob, Snapshot

SQL = statements.load("process")
PARKING = statements.load("parking")
VISITED_QUEUES = 2_000
"""How many queues one admission visits by name, when the front of the line has no room."""


class PostgresProcessStore(PostgresBoundCluster):
    """`ProcessStore` on PostgreSQL."""

    def __init__(self, pool: Pool) -> None:
        super().__init__(pool)
        self._visited_to: str | None = None

    async def load(self, job_ids: Collection[UUID]) -> Snapshot:
        found = await self._pool.fetch(SQL["load"], list(job_ids))
        attempts: dict[UUID, list[Any]] = {}
        for row in found:
            if row["a_number"] is not None:
                attempts.setdefault(row["id"], []).append(row)
        return _snapshot(found, attempts, rows.loaded_attempt)

    async def admit(self, limits: AdmissionLimits, *, limit: int, lease_seconds: float) -> Snapshot:
        names, maxima = list(limits.queues), list(limits.queues.values())

        async def work(connection: Connection) -> Snapshot:
            await connection.execute(SQL["lock_admissions"])
            parameters = (limit, limits.total, lease_seconds, limits.per_queue, names, maxima, limits.kept)
            found = await connection.fetch(SQL["admit"], *parameters, self._visited_to, VISITED_QUEUES)
            self._visited_to = found[0]["visited_to"]
            if found[0]["parked"]:
                found = await connection.fetch(PARKING["admit_around"], *parameters)
                await connection.execute(PARKING["forget"], parking.PODS_REFUSED, list(obstacles.HOLDS))
            attempts: dict[UUID, list[Any]] = {}
            retried = [row["id"] for row in found if row["id"] is not None and row["attempt"] > 0]
            if retried:
                for row in await connection.fetch(SQL["attempts_of"], retried):
                    attempts.setdefault(row["job_id"], []).append(row)
            return _snapshot(found, attempts, rows.attempt)

        return await self._pool.run(work, transaction=True)

    async def commit(self, changes: Sequence[Change], *, receipts: Mapping[UUID, Sequence[str]]) -> set[UUID]:
        if not changes and not receipts:
            return set()

        async def work(connection: Connection) -> set[UUID]:
            applied = await _still_fitting(connection, changes)
            ids = {change.job.id for change in applied}
            lost = {change.job.id for change in changes} - ids
            handled = [receipt for job_id, of_job in receipts.items() if job_id not in lost for receipt in of_job]
            attempts = [attempt for change in applied for attempt in change.attempts]
            if attempts:
                await connection.execute(SQL["put_attempts"], *_attempt_parameters(attempts))
            if again := [attempt for attempt in attempts if attempt.logs == "again"]:
                await connection.execute(
                    SQL["collect_again"], [one.job_id for one in again], [one.number for one in again]
                )
            if applied or handled:
                await connection.fetch(SQL["apply"], *_apply_parameters(applied, handled))
            await _park(connection, [change.trial for change in applied if change.trial is not None])
            return ids

        return await self._pool.run(work, transaction=True)


def _snapshot(
    found: Sequence[Any], attempts: Mapping[UUID, Sequence[Any]], read_attempt: Callable[[Any], Attempt]
) -> Snapshot:
    """Return the snapshot of rows that have a job, its spec and the time. A row without a job is there for the time only."""
    first: dict[UUID, Any] = {}
    for row in found:
        if row["id"] is not None:
            first.setdefault(row["id"], row)
    jobs: dict[UUID, LoadedJob] = {}
    unreadable: dict[UUID, str] = {}
    for job_id, row in first.items():
        try:
            jobs[job_id] = _loaded(row, [read_attempt(of_job) for of_job in attempts.get(job_id, ())])
        except (ValueError, msgspec.MsgspecError) as error:
            unreadable[job_id] = f"its rows cannot be read: {error}"
    return Snapshot(now=found[0]["now"], jobs=jobs, unreadable=unreadable)


def _loaded(row: Any, attempts: Sequence[Attempt]) -> LoadedJob:
    by_number = {attempt.number: attempt for attempt in sorted(attempts, key=lambda attempt: attempt.number)}
    reason = row.get("parked_reason")
    return LoadedJob(
        job=rows.job(row),
        attempts=by_number,
        spec=rows.spec(row["encoded_spec"]),
        probe=bool(row.get("probe")),
        parked=parking.words(row["namespace"], reason, row["parked_explanation"]) if reason else "",
    )


async def _still_fitting(connection: Connection, changes: Sequence[Change]) -> list[Change]:
    if not changes:
        return []
    locked = await connection.fetch(SQL["lock_jobs"], [change.job.id for change in changes])
    versions = {row["id"]: row["version"] for row in locked}
    return [change for change in changes if versions.get(change.job.id) == change.expected_version]


async def _park(connection: Connection, trials: Sequence[Trial]) -> None:
    """Park or open namespaces as these trials say. Without any, as nearly always, nothing is asked."""
    joined = parking.joined(trials)
    if not joined:
        return
    found = await connection.fetch(PARKING["lock_parked"], [trial.namespace for trial in joined])
    known = {row["namespace"]: rows.parking(row) for row in found if row["namespace"] is not None}
    after = {t.namespace: parking.after(known.get(t.namespace), t, found[0]["now"]) for t in joined}
    parked = [one for name, one in after.items() if one is not None and one != known.get(name)]
    if parked:
        await connection.execute(PARKING["park"], *rows.PARKINGS.encode(parked))
    opened = [name for name, one in after.items() if one is None and name in known]
    if opened:
        await connection.execute(PARKING["open"], opened)


def _apply_parameters(changes: Sequence[Change], handled: Iterable[str]) -> list[Any]:
    outgoing = [message for change in changes for message in change.messages]
    hints = [*([wakeup.JOBS] if changes else []), *message_queue.hints(outgoing)]
    return [
        *message_queue.receipt_columns(handled),
        hints,
        *rows.JOB_CHANGES.encode([change.job for change in changes]),
        *rows.TRANSITIONS.encode([transition for change in changes for transition in change.transitions]),
        *rows.ANOMALIES.encode([anomaly for change in changes for anomaly in change.anomalies]),
        *rows.MESSAGES.encode(outgoing),
    ]


def _attempt_parameters(attempts: Sequence[Attempt]) -> list[Any]:
    logged = [cleanup.log_expected(attempt) for attempt in attempts]
    return [logged, [rows.text(attempt.logs_lost) for attempt in attempts], *rows.ATTEMPTS.encode(attempts)]
