"""Decides about an attempt that has not started: it waits, or it is given up after a grace period or its start timeout."""

from __future__ import annotations

from datetime import timedelta

import msgspec

from kube_job_runner.domain.decide import deadlines, diagnosis, endings, next_attempt, obstacles
from kube_job_runner.domain.decide.builder import DecisionBuilder
from kube_job_runner.domain.failures import ends
from kube_job_runner.domain.job import Attempt, Verdict


def decide_starting(builder: DecisionBuilder, attempt: Attempt) -> None:
    """Decide about an attempt whose program has not started: wait, or give up."""
    rules, now = builder.rules, builder.now
    found = obstacles.obstacle(attempt.facts, now=now, table=rules.table)
    attempt = _note_health(builder, attempt, found)
    if found is not None:
        if found.until is not None:
            builder.look_again(found.until)
        if found.finding.verdict != "wait":
            since = attempt.unhealthy_since or now
            until = since + timedelta(seconds=rules.grace_seconds(found.finding.rule))
            if now >= until:
                _give_up(builder, attempt, diagnosis.verdict_of(found.finding))
                return
            builder.look_again(until)
    deadline = deadlines.start_deadline(builder.job, attempt.created_at or now)
    if now >= deadline:
        _give_up(builder, attempt, _start_timeout(builder, attempt, found))
    else:
        builder.look_again(deadline)


def _start_timeout(builder: DecisionBuilder, attempt: Attempt, found: obstacles.Obstacle | None) -> Verdict:
    """Return the verdict on an attempt that did not start in time: that of its known fault, if it has one."""
    seconds = builder.job.policy.timeouts.start_seconds
    waited_for = obstacles.waiting_for(attempt.facts, now=builder.now, table=builder.rules.table)
    verdict = ends.START_TIMEOUT.verdict(seconds=seconds, waited_for=waited_for)
    if found is None:
        return verdict
    if found.finding.verdict != "wait":
        return diagnosis.verdict_of(found.finding, explanation=verdict.explanation)
    return msgspec.structs.replace(verdict, rule=found.finding.rule.name)


def _give_up(builder: DecisionBuilder, attempt: Attempt, verdict: Verdict) -> None:
    """End an attempt that never started. If another one follows, its pod must be gone first, because it might still start."""
    if builder.job.cancel is None and next_attempt.plan(builder.job, builder.attempts, verdict).retry:
        endings.stop(builder, attempt, verdict)
    else:
        endings.end(builder, verdict)


def _note_health(builder: DecisionBuilder, attempt: Attempt, found: obstacles.Obstacle | None) -> Attempt:
    """Record since when the failing signal has been seen, and write what the attempt waits for into the job's row."""
    main = attempt.facts.main
    reason = found.finding.reason if found else ""
    if found is None and main is not None and obstacles.hides_its_cause(main.reason):
        # Kubelets before 1.31 drop the cause between two pulls; the cause seen before still holds.
        return attempt
    if reason != attempt.unhealthy_reason:
        attempt = msgspec.structs.replace(
            attempt, unhealthy_reason=reason, unhealthy_since=builder.now if reason else None
        )
        builder.put_attempt(attempt)
        builder.update_job(reason="", explanation=found.finding.explanation if found else "")
    return attempt
