"""Decides what follows a create: the cluster job exists, was refused, must wait, or was made for a job that had ended."""

from collections.abc import Mapping
from datetime import datetime, timedelta

import msgspec

from kube_job_runner.domain.decide import cleanup, endings, lifecycle, parking, retries, strays
from kube_job_runner.domain.decide.decision import Decision, DecisionBuilder
from kube_job_runner.domain.decide.observation import observe
from kube_job_runner.domain.decide.parking import Trial
from kube_job_runner.domain.decide.ruleset import Rules
from kube_job_runner.domain.facts import JobFacts
from kube_job_runner.domain.job import Attempt, Job, Verdict
from kube_job_runner.domain.messages import Check, Observed
from kube_job_runner.domain.states import State

_REAPPEARED_RECHECK_SECONDS = 5.0


def created(
    job: Job, attempts: Mapping[int, Attempt], attempt: Attempt, facts: JobFacts, *, now: datetime, rules: Rules
) -> Decision:
    """Return what to do once the cluster job of a queued job is known to exist (made now, adopted, or found)."""
    # The cluster's clock may be wrong: a create cannot lie before it was due or after now.
    made_at = max(job.due_at, min(facts.created_at or now, now))
    attempt = msgspec.structs.replace(attempt, cluster_uid=facts.uid, created_at=made_at)
    attempt = observe(attempt, facts)
    builder = DecisionBuilder(job=job, attempts=attempts, now=now, rules=rules)
    builder.put_attempt(attempt)
    explanation = "" if job.explanation.startswith(parking.WAITING) else job.explanation
    builder.update_job(attempt=attempt.number, admitted_at=job.admitted_at or now, explanation=explanation)
    builder.move(State.STARTING, attempt=attempt.number, reason="Created")
    made = builder.build()
    return made.then(lifecycle.decide(made.job, builder.attempts, now=now, rules=rules))


def refused(job: Job, attempts: Mapping[int, Attempt], verdict: Verdict, *, now: datetime, rules: Rules) -> Decision:
    """Return what to do when the cluster permanently refused the cluster job of a queued job."""
    builder = DecisionBuilder(job=job, attempts=attempts, now=now, rules=rules)
    endings.end(builder, verdict)
    cleanup.remove_finished(builder)
    return builder.build()


def postponed(
    job: Job,
    attempts: Mapping[int, Attempt],
    *,
    why: str,
    delay_seconds: float,
    outage: bool = False,
    now: datetime,
    rules: Rules,
) -> Decision:
    """Return what to do when a queued job could not be created now: wait half as long as it has waited, up to a minute.

    In an `outage` of the API server it waits 10 s at most, so all jobs go on soon after the outage. A full quota may stay full
    for hours, but a request to a server that is unreachable costs little. The job keeps its slot, because a create whose
    answer was lost may have made the cluster job.
    """
    waited_seconds = max(0.0, (now - max(job.due_at, job.created_at)).total_seconds())
    max_seconds = rules.create_retry_outage_seconds if outage else rules.create_retry_max_seconds
    wait_seconds = max(delay_seconds, min(waited_seconds / 2, max_seconds))
    builder = DecisionBuilder(job=job, attempts=attempts, now=now, rules=rules)
    builder.update_job(explanation=f"{parking.WAITING}: {why}")
    builder.look_again(min(now + timedelta(seconds=wait_seconds), max(now, job.queue_deadline)))
    return builder.build()


def parked(job: Job, attempts: Mapping[int, Attempt], refused: Trial, *, now: datetime, rules: Rules) -> Decision:
    """Return what to do when the namespace of a queued job takes no Jobs now: it waits without a slot, in its place in line."""
    builder = DecisionBuilder(job=job, attempts=attempts, now=now, rules=rules)
    advice = parking.advice(refused.namespace, refused.reason)
    builder.update_job(admitted_at=None, explanation=f"{parking.WAITING}: {refused.explanation.rstrip('.')}. {advice}")
    builder.look_again(max(now, job.queue_deadline))
    return builder.build()


def not_sent(job: Job, attempts: Mapping[int, Attempt], *, now: datetime, rules: Rules) -> Decision:
    """Return what to do when the lease was about to end before the create was sent: another processor takes the job at once."""
    builder = DecisionBuilder(job=job, attempts=attempts, now=now, rules=rules)
    builder.send(Check(job_id=job.id))
    builder.look_again(now + timedelta(seconds=rules.recheck_seconds))
    return builder.build()


def reappeared(
    job: Job, attempts: Mapping[int, Attempt], attempt: Attempt, facts: JobFacts, *, now: datetime, rules: Rules
) -> Decision:
    """Return what to do when a job that is being stopped has a cluster job again: remove it by its uid, and look again."""
    builder = DecisionBuilder(job=job, attempts=attempts, now=now, rules=rules)
    if not facts.deleting:
        builder.send(strays.removal(job, attempt, cluster_uid=facts.uid))
    builder.look_again(now + timedelta(seconds=_REAPPEARED_RECHECK_SECONDS))
    return builder.build()


def stray(job: Job, message: Observed, *, now: datetime) -> Attempt | None:
    """Return an attempt for a cluster job that appeared after its job had ended; None when the message is something else.

    It happens when a processor dies with a create in flight, and a cancel finds nothing meanwhile and is recorded.
    """
    seen = message.seen
    if not job.terminal or not isinstance(seen, JobFacts) or seen.gone or message.attempt != job.attempt + 1:
        return None
    return _stray_attempt(job, retries.new_attempt(job, {}), seen, now=now)


def remove_stray(
    job: Job, attempts: Mapping[int, Attempt], attempt: Attempt, facts: JobFacts, *, now: datetime, rules: Rules
) -> Decision | None:
    """Return how to remove a cluster job that was made while another processor had the job; None when there is no need.

    It is a stray if the job has ended without it, or if its attempt is recorded with another one.
    """
    known = attempts.get(attempt.number)
    if known is not None and known.cluster_uid not in (None, facts.uid):
        builder = DecisionBuilder(job=job, attempts=attempts, now=now, rules=rules)
        builder.send(strays.removal(job, attempt, cluster_uid=facts.uid))
        return msgspec.structs.replace(builder.build(), job=job)
    if not job.terminal or known is not None:
        return None
    builder = DecisionBuilder(job=job, attempts=attempts, now=now, rules=rules)
    builder.put_attempt(_stray_attempt(job, attempt, facts, now=now))
    cleanup.remove_finished(builder)
    return builder.build()


def _stray_attempt(job: Job, attempt: Attempt, facts: JobFacts, *, now: datetime) -> Attempt:
    verdict = Verdict(outcome=job.state, reason=job.reason, explanation="Made while the job ended; removed at once.")
    made = msgspec.structs.replace(
        attempt, cluster_uid=facts.uid, created_at=facts.created_at or now, verdict=verdict, decided_at=now
    )
    return observe(made, facts)
