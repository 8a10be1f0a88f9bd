"""Rows and the domain's types: the one place that knows which column is which field."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

import msgspec

from kube_job_runner.domain.decide import cleanup
from kube_job_runner.domain.facts import AttemptFacts
from kube_job_runner.domain.job import Anomaly, Attempt, CancelRequest, Job, Marks, Policy, Transition, Verdict
from kube_job_runner.domain.spec.model import JobSpec
from kube_job_runner.domain.states import State

_labels = msgspec.json.Decoder(dict[str, str])
_policy = msgspec.json.Decoder(Policy)
_verdict = msgspec.json.Decoder(Verdict)
_facts = msgspec.json.Decoder(AttemptFacts)
_marks = msgspec.json.Decoder(Marks)
_spec = msgspec.json.Decoder(JobSpec)
_encoder = msgspec.json.Encoder()

# A NUL is the one character that PostgreSQL cannot hold, in text or in jsonb; Kubernetes passes on what programs wrote.
_NUL = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")
_SHOWN = "\N{REPLACEMENT CHARACTER}"

T = TypeVar("T")


class Row(Protocol):
    """A row, by column name."""

    def __getitem__(self, column: str, /) -> Any: ...


def as_json(value: Any) -> str:
    """Return the JSON text of a value, as a parameter that is cast to jsonb wants it."""
    encoded: str = _encoder.encode(value).decode()
    return _NUL.sub(rf"\1{_SHOWN}", encoded) if "\\u0000" in encoded else encoded


def text(value: str) -> str:
    """Return a text as PostgreSQL can hold it."""
    return value.replace("\0", _SHOWN) if "\0" in value else value


def folded(values: list[T]) -> tuple[list[T], T | None]:
    """Return a column to unnest and the value of its missing rows.

    A column with one value in all rows becomes no rows and that value: `unnest` pads the shorter array with NULL, and
    the statement puts the value in its place. It halves the cost of a submit, where most columns are so.
    """
    if values and values[0] is not None and values.count(values[0]) == len(values):
        return [], values[0]
    return values, None


def columns(table: Sequence[Sequence[Any]], width: int) -> list[Sequence[Any]]:
    """Return rows of `width` values as columns."""
    return list(zip(*table, strict=True)) if table else [()] * width


def job(row: Row) -> Job:
    """Return the job of a row."""
    cancelled_at = row["cancel_requested_at"]
    cancel = None
    if cancelled_at is not None:
        cancel = CancelRequest(
            at=cancelled_at,
            by=row["cancel_by"],
            reason=row["cancel_reason"],
            grace_seconds=row["cancel_grace_seconds"],
        )
    return Job(
        id=row["id"],
        name=row["name"],
        queue=row["queue"],
        namespace=row["namespace"],
        priority=row["priority"],
        owner=row["owner"],
        labels=_labels.decode(row["labels"]),
        policy=_policy.decode(row["policy"]),
        state=State(row["state"]),
        version=row["version"],
        attempt=row["attempt"],
        created_at=row["created_at"],
        due_at=row["due_at"],
        admitted_at=row["admitted_at"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        next_check_at=row["next_check_at"],
        cancel=cancel,
        reason=row["reason"],
        explanation=row["explanation"],
        exit_code=row["exit_code"],
        rerun_of=row["rerun_of"],
        traceparent=row["traceparent"],
    )


def job_values(value: Job) -> tuple[Any, ...]:
    """Return the columns of a job that a decision may change, in the order of the statement `apply`."""
    return (
        value.id,
        value.state.value,
        value.version,
        value.attempt,
        value.due_at,
        value.admitted_at,
        value.started_at,
        value.finished_at,
        value.next_check_at,
        text(value.reason),
        text(value.explanation),
        value.exit_code,
    )


def spec(encoded: bytes | None) -> JobSpec | None:
    """Return the spec of its encoded form, or None."""
    return None if encoded is None else _spec.decode(encoded)


def attempt(row: Row, prefix: str = "") -> Attempt:
    """Return the attempt of a row, whose columns may have a prefix."""
    verdict = row[f"{prefix}verdict"]
    return Attempt(
        job_id=row[f"{prefix}job_id"],
        number=row[f"{prefix}number"],
        namespace=row[f"{prefix}namespace"],
        cluster_name=row[f"{prefix}cluster_name"],
        cluster_uid=row[f"{prefix}cluster_uid"],
        created_at=row[f"{prefix}created_at"],
        started_at=row[f"{prefix}started_at"],
        finished_at=row[f"{prefix}finished_at"],
        node=row[f"{prefix}node"],
        pod_name=row[f"{prefix}pod_name"],
        verdict=None if verdict is None else _verdict.decode(verdict),
        decided_at=row[f"{prefix}decided_at"],
        unhealthy_reason=row[f"{prefix}unhealthy_reason"],
        unhealthy_since=row[f"{prefix}unhealthy_since"],
        delete_requested_at=row[f"{prefix}delete_requested_at"],
        gone_at=row[f"{prefix}gone_at"],
        delete_grace_seconds=row[f"{prefix}delete_grace_seconds"],
        memory=row[f"{prefix}memory"],
        marks=_marks.decode(row[f"{prefix}marks"]),
        logs=row[f"{prefix}logs"] or "",
        logs_lost=row[f"{prefix}logs_lost"] or "",
        facts=_facts.decode(row[f"{prefix}facts"]),
    )


def attempt_values(value: Attempt) -> tuple[Any, ...]:
    """Return the columns of an attempt, in the order of the statement `put_attempts`."""
    return (
        value.job_id,
        value.number,
        value.namespace,
        value.cluster_name,
        value.cluster_uid,
        value.created_at,
        value.started_at,
        value.finished_at,
        value.node,
        value.pod_name,
        None if value.verdict is None else as_json(value.verdict),
        value.decided_at,
        text(value.unhealthy_reason),
        value.unhealthy_since,
        value.delete_requested_at,
        value.gone_at,
        as_json(value.facts),
        value.memory,
        as_json(value.marks),
        value.delete_grace_seconds,
        cleanup.log_expected(value),
        text(value.logs_lost),
    )


def transition(row: Row) -> Transition:
    """Return the transition of a row."""
    return Transition(
        job_id=row["job_id"],
        version=row["version"],
        attempt=row["attempt"],
        from_state=None if row["from_state"] is None else State(row["from_state"]),
        to_state=State(row["to_state"]),
        at=row["at"],
        reason=row["reason"],
        explanation=row["explanation"],
        exit_code=row["exit_code"],
    )


def transition_values(value: Transition) -> tuple[Any, ...]:
    """Return the columns of a transition, in the order of the statement `apply`."""
    return (
        value.job_id,
        value.version,
        value.attempt,
        None if value.from_state is None else value.from_state.value,
        value.to_state.value,
        value.at,
        text(value.reason),
        text(value.explanation),
        value.exit_code,
    )


def anomaly(row: Row) -> Anomaly:
    """Return the anomaly of a row."""
    return Anomaly(job_id=row["job_id"], attempt=row["attempt"], kind=row["kind"], detail=row["detail"], at=row["at"])
