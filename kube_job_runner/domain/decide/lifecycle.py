"""Decides what to do next with a job. The legal steps are in `domain/states.py`.

`decide` is pure and level-triggered. It looks at all that is known about a job. It answers with the next state, the rows to
write, the messages to send in the same commit, at most one effect on the cluster, and when to look again. It does not rely
on the order of messages: observations that come in any order, twice, or only with the next list, lead to the same state.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

import msgspec

from kube_job_runner.domain import freshness
from kube_job_runner.domain.decide import (
    cleanup,
    create_lease,
    diagnosis,
    endings,
    obstacles,
    own_ends,
    parking,
    retries,
    unasked,
    waiting,
)
from kube_job_runner.domain.decide.decision import Create, Decision, DecisionBuilder, Find
from kube_job_runner.domain.decide.ruleset import Rules
from kube_job_runner.domain.failures import ends
from kube_job_runner.domain.freshness import Freshness
from kube_job_runner.domain.job import Attempt, Job, Verdict
from kube_job_runner.domain.states import State

_EVIDENCE_PENDING = "EvidencePending"  # the cluster job failed, the facts of its pod may still come


def decide(
    job: Job,
    attempts: Mapping[int, Attempt],
    *,
    now: datetime,
    rules: Rules,
    known_absent: bool = False,
    looked: bool = False,
    parked: str = "",
    watched: Freshness = freshness.ALWAYS,
) -> Decision:
    """Return what to do with a job, given all that is known.

    `known_absent` says that the cluster was just asked and holds no cluster job of the name in question. Then a queued job may
    end, unless a create may still arrive. Without it, `decide` first asks for a `Find` if the job was admitted.

    `looked` says that the facts of the attempt were just read from the cluster. Without it, `decide` first asks for a `Look`
    before a verdict that rests on age or on absence: reports may be late, or their watch away.

    `parked` says why the job's namespace takes no jobs now, and what to do; empty while it takes jobs.
    `watched` says when nobody watched. Graces, the start timeout, and waits for evidence count only the time that was
    watched. The run timeout counts all of it, because the program runs on.
    """
    builder = DecisionBuilder(job=job, attempts=attempts, now=now, rules=rules, looked=looked, watched=watched)
    if job.state is State.QUEUED:
        _decide_queued(builder, known_absent=known_absent, parked=parked)
    elif job.state in (State.STARTING, State.RUNNING):
        _decide_live(builder)
    elif job.state is State.STOPPING:
        _decide_stopping(builder, known_absent=known_absent)
    else:
        _record_anomalies(builder)
    cleanup.remove_finished(builder)
    unasked.settle(builder)
    return builder.build()


def _decide_queued(builder: DecisionBuilder, *, known_absent: bool, parked: str) -> None:
    job, now = builder.job, builder.now
    deadline = job.queue_deadline
    if job.cancel is None and now < deadline:
        if now < job.due_at:
            builder.look_again(job.due_at)
        elif job.admitted_at is None:
            builder.look_again(deadline)  # the store admits it when the limits have room for it
        else:
            builder.effect = Create(
                retries.new_attempt(job, builder.attempts), retries.nodes_to_avoid(job, builder.attempts)
            )
            builder.look_again(deadline)
        return
    settled_at = create_lease.settled_at(job, builder.rules)
    if not known_absent and (job.admitted_at is not None or settled_at is not None):
        # A processor may have died between its create and its commit. An ended job must leave nothing behind, so ask the cluster.
        # Without an admission there is nothing to ask: only an admitted attempt is ever created.
        builder.effect = Find(retries.new_attempt(job, builder.attempts))
        builder.look_again(now + timedelta(seconds=builder.rules.recheck_seconds))
    elif settled_at is not None and now < settled_at:
        # A create may be on its way, and its container would run after the answer. Who sent it settles it, or time does.
        builder.look_again(settled_at)
    elif job.cancel is not None:
        endings.end(builder, endings.cancelled(job))
    else:
        waited_seconds = job.policy.timeouts.queue_seconds
        timeout = ends.QUEUE_TIMEOUT_AGAIN if job.started_at is not None else ends.QUEUE_TIMEOUT
        endings.end(builder, timeout.verdict(seconds=waited_seconds, last_try=parked or job.explanation))


def _decide_live(builder: DecisionBuilder) -> None:
    attempt = builder.current_attempt()
    if _finished(builder, attempt):
        return
    if own_ends.await_its_job(builder, attempt) or own_ends.left_by_its_node(builder, attempt):
        return
    if builder.job.cancel is not None:
        if not _finishing(builder, attempt, decided_at=builder.job.cancel.at):
            endings.stop(builder, attempt, endings.cancelled(builder.job))
        return
    held = obstacles.hold(attempt.facts)
    if held is not None:
        _decide_held(builder, attempt, held)
    elif diagnosis.has_started(attempt.facts):
        _decide_running(builder, attempt)
    else:
        _decide_starting(builder, attempt)


def _finished(builder: DecisionBuilder, attempt: Attempt) -> bool:
    """End an attempt whose cluster job ended; True when there is nothing more to decide now."""
    ending = diagnosis.ending(attempt.facts, builder.rules.table)
    if ending is None:
        return False
    if not ending.complete_evidence and _await_evidence(builder, attempt, ending):
        return True
    if ending.absent and builder.looks_first(attempt):
        return True
    if ending.job_deleted and not cleanup.pods_ended(attempt):
        endings.stop(builder, attempt, ending.verdict)
        return True
    endings.end(builder, ending.verdict)
    return True


def _finishing(builder: DecisionBuilder, attempt: Attempt, *, decided_at: datetime) -> bool:
    """Return whether to wait for the terminal condition of a Job that is about to get it.

    To stop the Job now would destroy the record of what happened. The wait is bounded, because the Job controller may be down.
    """
    if not diagnosis.finishing(attempt.facts):
        return False
    until = builder.until(decided_at, builder.rules.finishing_bound_seconds)
    if builder.now >= until:
        return builder.looks_first(attempt, due_at=until)
    builder.look_again(until)
    return True


def _await_evidence(builder: DecisionBuilder, attempt: Attempt, ending: diagnosis.Ending) -> bool:
    """Wait for the facts of the pod (its exit code, its name for the log); False when the wait is over."""
    succeeded = ending.verdict.outcome is State.SUCCEEDED
    rules = builder.rules
    grace_seconds = rules.success_evidence_seconds if succeeded else rules.evidence_grace_seconds
    pending = attempt.unhealthy_reason == _EVIDENCE_PENDING and attempt.unhealthy_since is not None
    since = attempt.unhealthy_since if pending and attempt.unhealthy_since else builder.now
    until = builder.until(since, grace_seconds)
    if builder.now >= until:
        return not succeeded and builder.looks_first(attempt, due_at=until)
    builder.put_attempt(msgspec.structs.replace(attempt, unhealthy_reason=_EVIDENCE_PENDING, unhealthy_since=since))
    builder.look_again(until)
    return True


def _decide_running(builder: DecisionBuilder, attempt: Attempt) -> None:
    attempt = _unhindered(builder, own_ends.running(builder, attempt))
    deadline = builder.job.run_deadline(attempt.started_at or builder.now)
    if builder.now < deadline:
        builder.look_again(deadline)
    elif not _finishing(builder, attempt, decided_at=deadline) and not builder.looks_first(attempt, due_at=deadline):
        told = diagnosis.failed_pod(attempt.facts, builder.rules.table)
        run_seconds = builder.job.policy.timeouts.run_seconds
        endings.stop(builder, attempt, told or ends.RUN_TIMEOUT.verdict(seconds=run_seconds))


def _unhindered(builder: DecisionBuilder, attempt: Attempt) -> Attempt:
    """Return an attempt whose program runs, without what held it back before, such as a suspension that was taken back."""
    if not attempt.unhealthy_reason:
        return attempt
    attempt = msgspec.structs.replace(attempt, unhealthy_reason="", unhealthy_since=None)
    builder.put_attempt(attempt)
    builder.update_job(explanation="")
    return attempt


def _decide_stopping(builder: DecisionBuilder, *, known_absent: bool) -> None:
    attempt = builder.current_attempt()
    verdict = attempt.verdict
    assert verdict is not None  # a job is `stopping` only with a verdict
    job_facts = attempt.facts.job
    ending = diagnosis.ending(attempt.facts, builder.rules.table)
    overtaken = job_facts is not None and not job_facts.deleting and not job_facts.gone
    if ending is not None and overtaken and (ending.complete_evidence or ending.verdict.outcome is State.SUCCEEDED):
        # The cluster job finished before our delete reached it. Its real end replaces the decision.
        endings.end(builder, ending.verdict)
        return
    if not cleanup.nothing_left(builder, attempt):
        endings.keep_waiting(builder, attempt)
    elif _may_reappear(builder, attempt, known_absent=known_absent):
        return
    elif cleanup.pods_ended(attempt) or not builder.looks_first(attempt):
        endings.end(builder, own_ends.before_the_stop(builder, attempt) or verdict)


def _may_reappear(builder: DecisionBuilder, attempt: Attempt, *, known_absent: bool) -> bool:
    """Return whether an earlier create of the name, whose answer was lost, may have made the cluster job again.

    The cluster is asked now and when that create can no longer arrive. What it made meanwhile is told by its uid, and removed.
    """
    settled_at = create_lease.settled_at(builder.job, builder.rules)
    if settled_at is None:
        return False
    if not known_absent:
        builder.effect = Find(attempt)
        builder.look_again(builder.now + timedelta(seconds=builder.rules.recheck_seconds))
        return True
    if builder.now >= settled_at:
        builder.update_job(create_until=None)
    builder.look_again(max(builder.now, settled_at))
    return True


def _record_anomalies(builder: DecisionBuilder) -> None:
    """Record what contradicts the terminal state of a job. The state itself stays."""
    job = builder.job
    attempt = builder.attempts.get(job.attempt)
    if attempt is None or attempt.verdict is None:
        return
    job_facts = attempt.facts.job
    detail = f"the job had ended as {job.state}: {job.reason}"
    completed = job_facts is not None and not job_facts.deleting and job_facts.condition("Complete") is not None
    if completed and job.state is not State.SUCCEEDED:
        builder.record_anomaly(attempt=attempt.number, kind="CompletedAfterEnd", detail=detail)
    if attempt.started_at is None and job.state is State.FAILED and diagnosis.has_started(attempt.facts):
        builder.record_anomaly(attempt=attempt.number, kind="StartedAfterEnd", detail=detail)


def _decide_starting(builder: DecisionBuilder, attempt: Attempt) -> None:
    """Decide about an attempt whose program has not started: wait, or give up."""
    rules, now = builder.rules, builder.now
    found = obstacles.obstacle(attempt.facts, now=now, table=rules.table)
    attempt = _note_health(builder, attempt, found)
    if found is not None and found.finding.rule.for_room:
        if builder.job.waiting_since is None and attempt.facts.pod is None:
            explanation = found.finding.explanation
            builder.trial = parking.Trial(
                namespace=attempt.namespace, outcome="refused", reason=parking.PODS_REFUSED, explanation=explanation
            )
        waiting.begin(builder)
        if found.until is not None:
            builder.look_again(found.until)
        _wait_in_line(builder, attempt, rule=found.finding.rule.name)
        return
    attempt = waiting.end(builder, attempt)
    if found is not None:
        if found.until is not None:
            builder.look_again(found.until)
        if found.finding.verdict != "wait":
            since = attempt.unhealthy_since or now
            until = builder.until(since, rules.grace_seconds(found.finding.rule))
            if now >= until:
                if builder.looks_first(attempt, due_at=until):
                    return
                _give_up(builder, attempt, diagnosis.verdict_of(found.finding))
                return
            builder.look_again(until)
    deadline = builder.until(*waiting.start_clock(builder.job, attempt, now))
    if now < deadline:
        builder.look_again(deadline)
    elif not builder.looks_first(attempt, due_at=deadline):
        _give_up(builder, attempt, _start_timeout(builder, attempt, found))


def _decide_held(builder: DecisionBuilder, attempt: Attempt, held: obstacles.Hold) -> None:
    """Decide about an attempt that a queue of the cluster, or a person, holds back. It goes on when they let it."""
    waiting.begin(builder, since=held.since)
    marks = attempt.marks
    if held.restarts:
        marks = msgspec.structs.replace(marks, waited_seconds=0.0)  # the start clock begins at the resume
    if attempt.unhealthy_reason != held.kind or attempt.marks != marks:
        attempt = msgspec.structs.replace(attempt, unhealthy_reason=held.kind, unhealthy_since=builder.now, marks=marks)
        builder.put_attempt(attempt)
    if not builder.job.explanation.startswith(unasked.UNASKED):  # those words end by themselves
        builder.update_job(reason="", explanation=held.explanation)
    _wait_in_line(builder, attempt)


def _wait_in_line(builder: DecisionBuilder, attempt: Attempt, *, rule: str = "") -> None:
    """Let an attempt wait for room, or for its resume, until its queue timeout."""
    deadline = waiting.deadline(builder.job, attempt)
    if builder.now < deadline:
        builder.look_again(deadline)
        return
    if builder.looks_first(attempt, due_at=deadline):
        return
    waited_for = obstacles.waiting_for(attempt.facts, now=builder.now, table=builder.rules.table)
    seconds = builder.job.policy.timeouts.queue_seconds
    timeout = ends.QUEUE_TIMEOUT_AGAIN if builder.job.started_at is not None else ends.QUEUE_TIMEOUT
    verdict = timeout.verdict(seconds=seconds, last_try=waited_for)
    _give_up(builder, attempt, msgspec.structs.replace(verdict, cause="permanent", rule=rule))


def _start_timeout(builder: DecisionBuilder, attempt: Attempt, found: obstacles.Obstacle | None) -> Verdict:
    """Return the verdict on an attempt that did not start in time: that of its pod or of its known fault, if it has one."""
    told = diagnosis.failed_pod(attempt.facts, builder.rules.table)
    if told is not None:
        return told
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
    if builder.job.cancel is None and retries.after(builder.job, builder.attempts, verdict).retry:
        endings.stop(builder, attempt, verdict)
    else:
        endings.end(builder, verdict)


def _note_health(builder: DecisionBuilder, attempt: Attempt, found: obstacles.Obstacle | None) -> Attempt:
    """Record since when the failing signal has been seen, and write what the attempt waits for into the job's row."""
    main = attempt.facts.main
    reason = found.finding.reason if found else ""
    if found is None and main is not None and main.reason == "ImagePullBackOff":
        # Kubelets before 1.31 drop the cause between two pulls; the cause seen before still holds.
        return attempt
    if reason != attempt.unhealthy_reason:
        attempt = msgspec.structs.replace(
            attempt, unhealthy_reason=reason, unhealthy_since=builder.now if reason else None
        )
        builder.put_attempt(attempt)
        builder.update_job(reason="", explanation=found.finding.explanation if found else "")
    return attempt
