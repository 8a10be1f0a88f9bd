"""Rows and the domain's types: the one place that knows which column is which field."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, TypeAlias

import asyncpg
import msgspec

from kube_job_runner.domain.facts import AttemptFacts
from kube_job_runner.domain.job import Attempt, CancelRequest, Job, Policy, State, Transition, Verdict
from kube_job_runner.domain.spec import JobSpec

_labels = msgspec.json.Decoder(dict[str, str])
_policy = msgspec.json.Decoder(Policy)
_verdict = msgspec.json.Decoder(Verdict)
_facts = msgspec.json.Decoder(AttemptFacts)
_spec = msgspec.json.Decoder(JobSpec)
_encoder = msgspec.json.Encoder()

Row: TypeAlias = "Mapping[str, Any] | asyncpg.Record"


def as_json(value: Any) -> str:
    """Return the JSON text of a value, as a jsonb parameter wants it (which cannot hold a NUL)."""
    text = _encoder.encode(value).decode()
    return text.replace("\\u0000", "") if "\\u0000" in text else text


def plain_uuid(value: uuid.UUID) -> uuid.UUID:
    """Return a standard UUID for the driver's own kind, which compares and hashes alike but is another type."""
    return uuid.UUID(int=value.int)


def job(row: Row) -> Job:
    """Return the job of a row."""
    cancelled_at = row["cancel_requested_at"]
    cancel = None
    if cancelled_at is not None:
        cancel = CancelRequest(at=cancelled_at, by=row["cancel_by"], reason=row["cancel_reason"])
    return Job(
        id=plain_uuid(row["id"]),
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
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        next_check_at=row["next_check_at"],
        cancel=cancel,
        reason=row["reason"],
        explanation=row["explanation"],
        exit_code=row["exit_code"],
    )


def spec(encoded: bytes | None) -> JobSpec | None:
    """Return the spec of its encoded form, or None."""
    return None if encoded is None else _spec.decode(encoded)


def attempt(row: Row) -> Attempt:
    """Return the attempt of a row."""
    verdict = row["verdict"]
    return Attempt(
        job_id=plain_uuid(row["job_id"]),
        number=row["number"],
        namespace=row["namespace"],
        cluster_name=row["cluster_name"],
        cluster_uid=row["cluster_uid"],
        created_at=row["created_at"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        node=row["node"],
        pod_name=row["pod_name"],
        verdict=None if verdict is None else _verdict.decode(verdict),
        decided_at=row["decided_at"],
        unhealthy_reason=row["unhealthy_reason"],
        unhealthy_since=row["unhealthy_since"],
        delete_requested_at=row["delete_requested_at"],
        gone_at=row["gone_at"],
        facts=_facts.decode(row["facts"]),
    )


def attempt_values(value: Attempt) -> tuple[Any, ...]:
    """Return the columns of an attempt, in the order of `put_attempts`."""
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
        value.unhealthy_reason,
        value.unhealthy_since,
        value.delete_requested_at,
        value.gone_at,
        as_json(value.facts),
    )


def transition(row: Row) -> Transition:
    """Return the transition of a row."""
    return Transition(
        job_id=plain_uuid(row["job_id"]),
        version=row["version"],
        attempt=row["attempt"],
        from_state=None if row["from_state"] is None else State(row["from_state"]),
        to_state=State(row["to_state"]),
        at=row["at"],
        reason=row["reason"],
        explanation=row["explanation"],
        exit_code=row["exit_code"],
    )
