"""Decides what becomes of a job in a cluster that the installation leaves: it ends, and does not run again by itself."""

from collections.abc import Mapping
from datetime import datetime

import msgspec

from kube_job_runner.domain.decide import cleanup, endings
from kube_job_runner.domain.decide.decision import Decision, DecisionBuilder
from kube_job_runner.domain.decide.observation import observe
from kube_job_runner.domain.decide.ruleset import Rules
from kube_job_runner.domain.facts import JobFacts
from kube_job_runner.domain.failures import ends
from kube_job_runner.domain.job import Attempt, Job


def left_behind(
    job: Job, attempts: Mapping[int, Attempt], *, place: str, now: datetime, rules: Rules
) -> Decision | None:
    """Return how to end a job that may be in the cluster that `place` describes; None when it cannot be there.

    An admitted job may be there without a record: its processor may have died between the create and the commit. The objects
    of earlier attempts count as gone too, so that nobody looks for them in the new cluster.
    """
    builder = DecisionBuilder(job=job, attempts=attempts, now=now, rules=rules)
    left = [attempt for attempt in attempts.values() if attempt.cluster_uid is not None and attempt.gone_at is None]
    for attempt in left:
        builder.put_attempt(_out_of_reach(attempt))
    if not job.terminal and job.admitted_at is not None:
        endings.end(builder, ends.CLUSTER_REPLACED.verdict(place=place))
    elif not left:
        return None
    else:
        builder.look_again(job.next_check_at or now)
    cleanup.remove_finished(builder)
    return builder.build()


def _out_of_reach(attempt: Attempt) -> Attempt:
    pods = tuple(msgspec.structs.replace(pod, gone=True) for pod in attempt.facts.pods)
    attempt = msgspec.structs.replace(attempt, facts=msgspec.structs.replace(attempt.facts, pods=pods))
    assert attempt.cluster_uid is not None
    return observe(attempt, JobFacts(uid=attempt.cluster_uid, gone=True))
