"""Decides about a job whose objects somebody removed, and whose next attempt we have no right to create.

The deletion of a namespace removes the pods, the Jobs and our Role in any order (pkg/controller/namespace/deletion). Without the
Role, the API server says only that we may not create, and never that the namespace is being terminated, or is gone. A right that
is missing by itself removes no pod and no Job, so only both together end a job. Else it waits for the right.
"""

from collections.abc import Mapping
from datetime import datetime

import msgspec

from kube_job_runner.domain.decide import create_lease, creation
from kube_job_runner.domain.decide.decision import Decision
from kube_job_runner.domain.decide.ruleset import Rules
from kube_job_runner.domain.failures import ends, refusals
from kube_job_runner.domain.job import Attempt, Job, Verdict

_REMOVED = frozenset({ends.JOB_DELETED.reason, ends.POD_DELETED.reason, ends.POD_LOST.reason})


def ended(
    job: Job,
    attempts: Mapping[int, Attempt],
    *,
    reason: str,
    why: str,
    known_absent: bool,
    now: datetime,
    rules: Rules,
) -> Decision | None:
    """Return the end of a queued job whose create was refused with `reason`, or None: it does not end for that.

    `known_absent` says that the cluster holds no cluster job of the name now. An earlier create may still arrive.
    """
    last = attempts.get(job.attempt)
    if last is None or last.verdict is None or last.verdict.reason not in _REMOVED:
        return None
    settled_at = create_lease.settled_at(job, rules)
    settled = settled_at is None or (known_absent and now >= settled_at)
    if reason != refusals.FORBIDDEN.reason or not settled:
        return None
    return creation.refused(job, attempts, _verdict(last.verdict, why, last.namespace), now=now, rules=rules)


def _verdict(removed: Verdict, why: str, namespace: str) -> Verdict:
    refused = ends.refused(refusals.NAMESPACE_TERMINATING.reason, why)
    explanation = (
        f"{removed.explanation} Then we lost the right to create Jobs, as when namespace {namespace} is deleted."
        f" {refused.explanation}"
    )
    return msgspec.structs.replace(refused, explanation=explanation.strip())


def stays_gone(attempt: Attempt, reason: str) -> bool:
    """Return whether a cluster job that was reported gone counts as gone without a look, because the look is forbidden.

    The report came while we had the right. Nobody can tell more now, and a job in a deleted namespace would wait for ever.
    """
    job = attempt.facts.job
    return reason == refusals.FORBIDDEN.reason and job is not None and job.gone
