"""Ends an attempt: another attempt is queued, or the job stops or ends."""

from datetime import timedelta

import msgspec

from kube_job_runner.domain.decide import cleanup, diagnosis, retries
from kube_job_runner.domain.decide.decision import DecisionBuilder
from kube_job_runner.domain.decide.retries import Plan
from kube_job_runner.domain.failures import ends
from kube_job_runner.domain.job import Attempt, Job, Verdict
from kube_job_runner.domain.states import State


def with_start(builder: DecisionBuilder, attempt: Attempt) -> Attempt:
    """Return the attempt with its start time, if it has started. The job keeps the time of its first start.

    An attempt that was suspended starts again when it is resumed, as `activeDeadlineSeconds` of a Job counts again then.
    """
    if not diagnosis.has_started(attempt.facts):
        return attempt
    if attempt.started_at is not None and not diagnosis.started_again(attempt.facts, attempt.started_at):
        return attempt
    seen = diagnosis.started_at(attempt.facts) or builder.now
    # The node's clock may be wrong: a start cannot lie before the pod had a node, or after now.
    earliest = (attempt.created_at, diagnosis.node_given_at(attempt.facts))
    start = min(max(seen, *(time for time in earliest if time is not None)), builder.now)
    if attempt.unhealthy_reason:
        builder.update_job(explanation="")  # what it waited for
    logs = "again" if attempt.started_at is not None and attempt.logs in ("stored", "lost") else attempt.logs
    attempt = msgspec.structs.replace(attempt, started_at=start, unhealthy_reason="", unhealthy_since=None, logs=logs)
    builder.put_attempt(attempt)
    builder.update_job(started_at=builder.job.started_at or start)
    return attempt


def cancelled(job: Job) -> Verdict:
    """Return the verdict on a job whose cancel was requested."""
    request = job.cancel
    assert request is not None
    why = f": {request.reason}" if request.reason else "."
    return ends.CANCELLED.verdict(by=request.by_whom, why=why)


def stop(builder: DecisionBuilder, attempt: Attempt, verdict: Verdict) -> None:
    """Decide the end of an attempt whose pod may still run. The job is `stopping` until nothing of it is left."""
    attempt = with_start(builder, attempt)
    attempt = msgspec.structs.replace(attempt, verdict=verdict, decided_at=builder.now)
    builder.put_attempt(attempt)
    _move(builder, State.STOPPING, verdict, explanation=verdict.explanation)
    keep_waiting(builder, attempt)


def end(builder: DecisionBuilder, verdict: Verdict) -> None:
    """Record the verdict on the attempt, then either queue another attempt or end the job."""
    attempt = builder.attempts.get(builder.job.attempt)
    has_attempt = attempt is not None and builder.job.state is not State.QUEUED
    if attempt is not None and has_attempt:
        _conclude(builder, attempt, verdict)
    follows = retries.after(builder.job, builder.attempts, verdict) if has_attempt else None
    if follows is not None and follows.retry and builder.job.cancel is None:
        _queue_again(builder, verdict, follows)
        return
    if follows is not None and follows.retry:
        verdict = cancelled(builder.job)
    explanation = _explanation_of_end(builder.job, verdict, follows)
    builder.update_job(finished_at=builder.now, exit_code=verdict.exit_code)
    _move(builder, verdict.outcome, verdict, explanation=explanation)


def _move(builder: DecisionBuilder, to_state: State, verdict: Verdict, *, explanation: str) -> None:
    """Take a step because of a verdict. The job's row and the transition say why."""
    builder.update_job(reason=verdict.reason, explanation=explanation, waiting_since=None)
    builder.move(
        to_state,
        attempt=builder.job.attempt,
        reason=verdict.reason,
        explanation=explanation,
        exit_code=verdict.exit_code,
    )


def _conclude(builder: DecisionBuilder, attempt: Attempt, verdict: Verdict) -> None:
    now = builder.now
    attempt = with_start(builder, attempt)
    ended = diagnosis.finished_at(attempt.facts)
    finished = min(max(ended, attempt.started_at or ended), now) if ended else now
    builder.put_attempt(msgspec.structs.replace(attempt, verdict=verdict, decided_at=now, finished_at=finished))


def _queue_again(builder: DecisionBuilder, verdict: Verdict, follows: Plan) -> None:
    due_at = builder.now + timedelta(seconds=follows.delay_seconds)
    explanation = f"{verdict.explanation} {_sentence(follows.why)}".strip()
    builder.update_job(due_at=due_at, admitted_at=None)
    _move(builder, State.QUEUED, verdict, explanation=explanation)
    builder.look_again(due_at)


def _explanation_of_end(job: Job, verdict: Verdict, follows: Plan | None) -> str:
    """Return the explanation of an end: what happened, why no attempt follows, and whether a cancel came too late."""
    words = [verdict.explanation] if verdict.explanation else []
    retried = follows is not None and verdict.outcome is State.FAILED and (job.attempt > 1 or follows.rule is not None)
    if follows is not None and (retried or follows.budget == "infrastructure"):
        words.append(f"There is no further attempt: {follows.why}.")
    if job.cancel is not None and verdict.outcome is not State.CANCELLED:
        requested = f"A cancel was requested{job.cancel.by_whom} at {job.cancel.at:%Y-%m-%d %H:%M:%S} UTC"
        words.append(f"{requested}; the job ended first.")
    return " ".join(words)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."


def keep_waiting(builder: DecisionBuilder, attempt: Attempt) -> None:
    """Plan the next look at a job that is being stopped: to repeat its delete, or to end the wait for its pods."""
    builder.look_again(builder.now + timedelta(seconds=builder.rules.recheck_seconds))
    if attempt.facts.job is not None and attempt.facts.job.gone:
        builder.look_again(cleanup.waited_enough_at(builder, attempt))
