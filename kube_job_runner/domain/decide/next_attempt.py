"""What follows an attempt: whether there is another one, and how it is made."""

from __future__ import annotations

from collections.abc import Mapping

from kube_job_runner.domain import names
from kube_job_runner.domain.decide import retries
from kube_job_runner.domain.decide.retries import Plan
from kube_job_runner.domain.job import Attempt, Job, Verdict

_NODES_AVOIDED = 8


def plan(job: Job, attempts: Mapping[int, Attempt], verdict: Verdict, *, number: int | None = None) -> Plan:
    """Return what follows when an attempt (by default the newest) ends with this verdict."""
    number = job.attempt if number is None else number
    history = [
        attempt.verdict
        for earlier, attempt in sorted(attempts.items())
        if earlier < number and attempt.verdict is not None
    ]
    last = attempts.get(number)
    memory = (last.memory if last is not None else "") or job.policy.memory
    return retries.plan([*history, verdict], policy=job.policy.retry, job_id=job.id, memory=memory)


def new_attempt(job: Job, attempts: Mapping[int, Attempt]) -> Attempt:
    """Return the next attempt of a queued job."""
    number = job.attempt + 1
    last = attempts.get(job.attempt)
    memory = ""
    if last is not None and last.verdict is not None:
        memory = plan(job, attempts, last.verdict).memory or last.memory
    return Attempt(
        job_id=job.id,
        number=number,
        namespace=job.namespace,
        cluster_name=names.cluster_job_name(job.name, job.id, number),
        memory=memory,
    )


def nodes_to_avoid(job: Job, attempts: Mapping[int, Attempt]) -> tuple[str, ...]:
    """Return the nodes on which attempts of the job failed because of the infrastructure, the newest last."""
    if not job.policy.retry.avoid_failed_nodes:
        return ()
    failed = [
        attempt.node
        for _, attempt in sorted(attempts.items())
        if attempt.node and attempt.verdict is not None and attempt.verdict.cause == "infrastructure"
    ]
    return tuple(dict.fromkeys(failed))[-_NODES_AVOIDED:]
