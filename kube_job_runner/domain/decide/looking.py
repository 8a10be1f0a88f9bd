"""Decides what follows a look at the cluster: with fresh facts, or, when the cluster does not answer, later.

`DecisionBuilder.looks_first` says which decisions ask for one.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

import msgspec

from kube_job_runner.domain import freshness
from kube_job_runner.domain.decide import lifecycle, unasked
from kube_job_runner.domain.decide.decision import Decision, DecisionBuilder, Look
from kube_job_runner.domain.decide.observation import observe
from kube_job_runner.domain.decide.ruleset import Rules
from kube_job_runner.domain.freshness import Freshness
from kube_job_runner.domain.job import Attempt, Job
from kube_job_runner.domain.sight import Sight, corrected, told
from kube_job_runner.domain.states import State

_POSTPONED_MAX_SECONDS = 15.0


def looked(
    job: Job,
    attempts: Mapping[int, Attempt],
    attempt: Attempt,
    sight: Sight,
    *,
    now: datetime,
    rules: Rules,
    watched: Freshness = freshness.ALWAYS,
) -> Decision:
    """Return what to do with a job after a look at this attempt."""
    builder = DecisionBuilder(job=job, attempts=attempts, now=now, rules=rules)
    fresh = _seen(attempt, sight)
    if fresh != attempt:
        builder.put_attempt(fresh)
    merged = builder.build()
    return merged.then(
        lifecycle.decide(builder.job, builder.attempts, now=now, rules=rules, looked=True, watched=watched)
    )


def _seen(attempt: Attempt, sight: Sight) -> Attempt:
    if attempt.cluster_uid is None:
        return attempt
    seen = told(attempt.facts, sight, cluster_uid=attempt.cluster_uid)
    for facts in seen:
        attempt = observe(attempt, facts)
    merged = corrected(attempt.facts, seen)
    there = merged.job is not None and not merged.job.gone
    return msgspec.structs.replace(attempt, facts=merged, gone_at=None if there else attempt.gone_at)


def unanswered(
    job: Job,
    attempts: Mapping[int, Attempt],
    look: Look,
    *,
    why: str,
    delay_seconds: float,
    now: datetime,
    rules: Rules,
) -> Decision:
    """Return what to do when the cluster did not answer a look: nothing is decided, and the look is tried again.

    It waits half as long as it has waited, up to 15 s, so all jobs go on soon after an outage.
    """
    waited_seconds = max(0.0, (now - look.due_at).total_seconds())
    wait_seconds = max(delay_seconds, 1.0, min(waited_seconds / 2, _POSTPONED_MAX_SECONDS))
    builder = DecisionBuilder(job=job, attempts=attempts, now=now, rules=rules)
    if job.state in (State.STARTING, State.RUNNING):
        builder.update_job(explanation=f"{unasked.UNASKED}, so nothing is decided: {why}")
    builder.look_again(now + timedelta(seconds=wait_seconds))
    return builder.build()
