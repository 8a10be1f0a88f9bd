"""Makes a new job from a checked spec, in its first state."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec

from kube_job_runner.domain import names
from kube_job_runner.domain.decide import deadlines
from kube_job_runner.domain.job import Job, Policy
from kube_job_runner.domain.spec.model import JobSpec

_encode = msgspec.json.Encoder().encode
_DEFAULT_POLICY = Policy()


def new_job(
    spec: JobSpec,
    *,
    owner: str,
    default_namespace: str,
    now: datetime,
    rerun_of: UUID | None = None,
    traceparent: str | None = None,
) -> tuple[Job, bytes]:
    """Return the new job of a checked spec, and the encoded spec that is stored with it."""
    job = Job(
        id=names.new_job_id(now),
        name=spec.name or names.default_job_name(spec.image),
        queue=spec.queue,
        namespace=spec.namespace or default_namespace,
        priority=spec.priority,
        owner=owner,
        labels=spec.labels,
        policy=_policy(spec),
        created_at=now,
        due_at=now,
        next_check_at=deadlines.queue_deadline_of(now, spec.timeouts),
        rerun_of=rerun_of,
        traceparent=traceparent,
    )
    return job, _encode(spec)


def _policy(spec: JobSpec) -> Policy:
    grows = any(rule.action == "grow_memory" for rule in spec.retry.rules)
    policy = Policy(
        timeouts=spec.timeouts,
        retry=spec.retry,
        memory=(spec.resources.memory or "") if grows else "",
        stop_grace_seconds=spec.stop_grace_seconds,
    )
    return _DEFAULT_POLICY if policy == _DEFAULT_POLICY else policy
