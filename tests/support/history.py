"""The history checker: compares a run of the whole product with the promises of the design, from outside evidence.

The submitted jobs come from the answers to the client, the created Jobs from the API server's audit log, and what is left
from the cluster itself. Only the states of jobs are read from the store.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from testbed.cluster import Cluster

IN_CLUSTER = {"starting", "running", "stopping"}
TERMINAL = {"succeeded", "failed", "cancelled"}
LEGAL = {
    None: {"queued"},
    "queued": {"starting", "stopping", "failed", "cancelled"},
    "starting": {"running", "stopping", "queued", "succeeded", "failed", "cancelled"},
    "running": {"stopping", "queued", "succeeded", "failed", "cancelled"},
    "stopping": {"queued", "succeeded", "failed", "cancelled"},
}
"""A second copy on purpose: the checker must not learn what is legal from the code that it checks."""


class History(msgspec.Struct, kw_only=True):
    """The evidence of one run.

    `acknowledged` maps each submitted job's id to the idempotency key it was submitted with. `jobs` and `transitions` are the
    store's rows as the API shows them; `creates` the audit events of Job creates by us; `left` the names of Jobs and pods with
    our labels that are in the cluster at the end; `terminal_seen` every (id, state) in which a client saw a job to have ended.
    `attempts` are the attempts of each job, as the API shows them. `limits` is the most
    jobs that may be in flight, by queue, and under the name "" in all.
    """

    acknowledged: Mapping[str, str | None]
    jobs: Mapping[str, Mapping[str, Any]]
    transitions: Mapping[str, Sequence[Mapping[str, Any]]]
    creates: Sequence[Mapping[str, Any]] = ()
    left: Sequence[str] = ()
    terminal_seen: Iterable[tuple[str, str]] = ()
    attempts: Mapping[str, Sequence[Mapping[str, Any]]] = {}
    limits: Mapping[str, int] = {}


def creates_in(cluster: Cluster, namespace: str) -> list[dict[str, Any]]:
    """Return the creates of Jobs in a namespace, from the audit log of the API server."""
    events = cluster.audit_events(verb="create", resource="jobs")
    return [event for event in events if event["objectRef"]["namespace"] == namespace]


def violations(history: History) -> list[str]:
    """Return every broken promise of a run, in words; an empty list is what a test wants."""
    lost = [job_id for job_id in history.acknowledged if job_id not in history.jobs]
    found = [f"I1: acknowledged job {job_id} is lost" for job_id in lost]
    found += _idempotency(history.acknowledged)
    found += _creates(history.creates)
    for job_id, state in history.terminal_seen:
        now = history.jobs.get(job_id, {}).get("state")
        if now != state:
            found.append(f"I4: job {job_id} was seen {state} and is now {now}")
    for job_id, job in history.jobs.items():
        if job["state"] not in TERMINAL:
            found.append(f"I6: job {job_id} has not ended: {job['state']}, {job.get('explanation')}")
        elif not job.get("reason"):
            found.append(f"I5: job {job_id} ended as {job['state']} without a reason")
        found += _transitions(job_id, job, history.transitions.get(job_id, ()))
    found += [f"I7: {name} is left in the cluster" for name in history.left]
    for job_id, attempts in history.attempts.items():
        found += [text for attempt in attempts if (text := _log(job_id, attempt))]
    return found + _limits(history)


def _log(job_id: str, attempt: Mapping[str, Any]) -> str:
    """Return what is wrong with the log of an attempt: one that has run has a stored log, or the reason why it has not."""
    where = f"I9: the log of job {job_id}, attempt {attempt['number']},"
    if attempt["logs"] == "lost" and not attempt["logs_lost"]:
        return f"{where} is lost without a reason"
    if attempt["logs"] not in ("stored", "lost") and attempt["started_at"] is not None:
        return f"{where} is neither stored nor lost but {attempt['logs'] or 'unknown'}"
    return ""


def _idempotency(acknowledged: Mapping[str, str | None]) -> list[str]:
    jobs_by_key = Counter(key for key in acknowledged.values() if key is not None)
    return [f"I2: key {key} made {count} jobs" for key, count in jobs_by_key.items() if count > 1]


def _creates(creates: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the names that were created more than once: a name holds job and attempt, and is never used twice."""
    made = Counter(
        event["objectRef"]["name"]
        for event in creates
        if event.get("responseStatus", {}).get("code") == 201 and event["objectRef"].get("name")
    )
    return [f"I3: cluster job {name} was created {count} times" for name, count in made.items() if count > 1]


def _limits(history: History) -> list[str]:
    """Count the jobs that were in the cluster at the same time: each held its slot for longer, so no count may exceed a limit."""
    if not history.limits:
        return []
    steps: list[tuple[datetime, int, str]] = []
    for job_id, rows in history.transitions.items():
        for row in rows:
            leaves = row["to_state"] in TERMINAL | {"queued"} and row.get("from_state") in IN_CLUSTER
            if leaves or (row["to_state"] in IN_CLUSTER and row.get("from_state") == "queued"):
                steps.append((_time(row["at"]), -1 if leaves else 1, history.jobs[job_id]["queue"]))
    held: Counter[str] = Counter()
    found = []
    for at, step, queue in sorted(steps):
        for name in (queue, ""):
            held[name] += step
            if held[name] > history.limits.get(name, held[name]):
                found.append(f"I11: {held[name]} jobs of {name or 'all'} at {at}, the limit is {history.limits[name]}")
    return found


def _time(at: datetime | str) -> datetime:
    return datetime.fromisoformat(at) if isinstance(at, str) else at


def _transitions(job_id: str, job: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> list[str]:
    if not rows:
        return [f"I8: job {job_id} has no transitions"]
    found: list[str] = []
    state: str | None = None
    version = 0
    for row in rows:
        if row.get("from_state") != state:
            found.append(f"I8: job {job_id} has a transition from {row.get('from_state')}, but was {state}")
        if state in TERMINAL:
            found.append(f"I4: job {job_id} left its terminal state {state} for {row['to_state']}")
        elif row["to_state"] not in LEGAL[state]:
            found.append(f"I8: job {job_id} made the illegal transition {state} -> {row['to_state']}")
        if row["version"] <= version:
            found.append(f"I8: job {job_id}: version {row['version']} follows {version}")
        state, version = row["to_state"], row["version"]
    if state != job["state"]:
        found.append(f"I8: job {job_id} is {job['state']}, its history says {state}")
    return found
