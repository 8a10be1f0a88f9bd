"""Decides what to do next with a job. The legal steps are in `domain/states.py`.

`decide` is pure and level-triggered. It looks at all that is known about a job. It answers with the next state, the rows to
write, the messages to send in the same commit, at most one effect on the cluster, and when to look again. It does not rely
on the order of messages: observations that come in any order, twice, or only with the next list, lead to the same state.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

import msgspec

from kube_job_runner.domain.decide import anomalies, cleanup, deadlines, diagnosis, endings, next_attempt, starting
from kube_job_runner.domain.decide.builder import DecisionBuilder
from kube_job_runner.domain.decide.decision import Create, Decision, Find
from kube_job_runner.domain.decide.ruleset import Rules
from kube_job_runner.domain.failures import ends
from kube_job_runner.domain.job import Attempt, Job
from kube_job_runner.domain.states import State

_EVIDENCE_PENDING = "EvidencePending"  # the cluster job failed, the facts of its pod may still come


def decide(
    job: Job, attempts: Mapping[int, Attempt], *, now: datetime, rules: Rules, known_absent: bool = False
) -> Decision:
    """Return what to do with a job, given all that is known.

    `known_absent` says that the cluster was just asked and holds no cluster job for the next attempt. Then a queued job may
    end at once. Without it, `decide` first asks for a `Find` if the job was admitted.
    """
    builder = DecisionBuilder(job=job, attempts=attempts, now=now, rules=rules)
    if job.state is State.QUEUED:
        _decide_queued(builder, known_absent=known_absent)
    elif job.state in (State.STARTING, State.RUNNING):
        _decide_live(builder)
    elif job.state is State.STOPPING:
        _decide_stopping(builder)
    else:
        anomalies.record(builder)
    cleanup.remove_finished(builder)
    return builder.build()


def _decide_queued(builder: DecisionBuilder, *, known_absent: bool) -> None:
    job, now = builder.job, builder.now
    deadline = deadlines.queue_deadline(job)
    if job.cancel is None and now < deadline:
        if now < job.due_at:
            builder.look_again(job.due_at)
        elif job.admitted_at is None:
            builder.look_again(deadline)  # the store admits it when the limits have room for it
        else:
            builder.effect = Create(
                next_attempt.new_attempt(job, builder.attempts), next_attempt.nodes_to_avoid(job, builder.attempts)
            )
            builder.look_again(deadline)
        return
    if not known_absent and job.admitted_at is not None:
        # A processor may have died between its create and its commit. An ended job has nothing left, so ask the cluster.
        # Without an admission there is nothing to ask: only an admitted attempt is ever created.
        builder.effect = Find(next_attempt.new_attempt(job, builder.attempts))
        builder.look_again(now + timedelta(seconds=builder.rules.recheck_seconds))
    elif job.cancel is not None:
        settled_at = job.cancel.at + timedelta(seconds=builder.rules.create_settle_seconds)
        if job.admitted_at is not None and now < settled_at:
            # Another processor's create may be on its way, and its container would run after the answer. Look once more.
            builder.look_again(settled_at)
        else:
            endings.end(builder, endings.cancelled(job))
    else:
        waited_seconds = job.policy.timeouts.queue_seconds
        endings.end(builder, ends.QUEUE_TIMEOUT.verdict(seconds=waited_seconds, last_try=job.explanation))


def _decide_live(builder: DecisionBuilder) -> None:
    attempt = builder.current_attempt()
    if _finished(builder, attempt):
        return
    if builder.job.cancel is not None:
        if not _finishing(builder, attempt, decided_at=builder.job.cancel.at):
            endings.stop(builder, attempt, endings.cancelled(builder.job))
        return
    if diagnosis.has_started(attempt.facts):
        _decide_running(builder, attempt)
    else:
        starting.decide_starting(builder, attempt)


def _finished(builder: DecisionBuilder, attempt: Attempt) -> bool:
    """End an attempt whose cluster job ended; True when there is nothing more to decide now."""
    ending = diagnosis.ending(attempt.facts, builder.rules.table)
    if ending is None:
        return False
    if not ending.complete_evidence and _await_evidence(builder, attempt, ending):
        return True
    if ending.verdict.reason == ends.JOB_DELETED.reason and not cleanup.pods_ended(attempt):
        endings.stop(builder, attempt, ending.verdict)
        return True
    endings.end(builder, ending.verdict)
    return True


def _finishing(builder: DecisionBuilder, attempt: Attempt, *, decided_at: datetime) -> bool:
    """Return whether to wait for the end of a Job whose program has ended by itself.

    To stop the Job now would destroy the record of what happened. The wait is bounded, because the Job controller may be down.
    """
    if not diagnosis.finishing(attempt.facts):
        return False
    until = decided_at + timedelta(seconds=builder.rules.finishing_bound_seconds)
    if builder.now >= until:
        return False
    builder.look_again(until)
    return True


def _await_evidence(builder: DecisionBuilder, attempt: Attempt, ending: diagnosis.Ending) -> bool:
    """Wait for the facts of the pod (its exit code, its name for the log); False when the wait is over."""
    succeeded = ending.verdict.outcome is State.SUCCEEDED
    rules = builder.rules
    grace_seconds = rules.success_evidence_seconds if succeeded else rules.evidence_grace_seconds
    pending = attempt.unhealthy_reason == _EVIDENCE_PENDING and attempt.unhealthy_since is not None
    since = attempt.unhealthy_since if pending and attempt.unhealthy_since else builder.now
    until = since + timedelta(seconds=grace_seconds)
    if builder.now >= until:
        return False
    builder.put_attempt(msgspec.structs.replace(attempt, unhealthy_reason=_EVIDENCE_PENDING, unhealthy_since=since))
    builder.look_again(until)
    return True


def _decide_running(builder: DecisionBuilder, attempt: Attempt) -> None:
    attempt = endings.with_start(builder, attempt)
    if builder.job.state is State.STARTING:
        builder.move(State.RUNNING, attempt=attempt.number, reason="Started")
    deadline = deadlines.run_deadline(builder.job, attempt.started_at or builder.now)
    if builder.now < deadline:
        builder.look_again(deadline)
    elif not _finishing(builder, attempt, decided_at=deadline):
        run_seconds = builder.job.policy.timeouts.run_seconds
        endings.stop(builder, attempt, ends.RUN_TIMEOUT.verdict(seconds=run_seconds))


def _decide_stopping(builder: DecisionBuilder) -> None:
    attempt = builder.current_attempt()
    verdict = attempt.verdict
    assert verdict is not None  # a job is `stopping` only with a verdict
    job_facts = attempt.facts.job
    ending = diagnosis.ending(attempt.facts, builder.rules.table)
    overtaken = job_facts is not None and not job_facts.deleting and not job_facts.gone
    if ending is not None and overtaken and (ending.complete_evidence or ending.verdict.outcome is State.SUCCEEDED):
        # The cluster job finished before our delete reached it. What happened wins over what was decided.
        endings.end(builder, ending.verdict)
        return
    if cleanup.nothing_left(builder, attempt):
        endings.end(builder, verdict)
    else:
        endings.keep_waiting(builder, attempt)
