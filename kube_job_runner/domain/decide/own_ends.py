"""Decides about programs whose end their Job does not tell: it has not ended yet, it is being stopped, or its node is silent."""

from datetime import datetime

import msgspec

from kube_job_runner.domain.decide import diagnosis, endings, program_end, waiting
from kube_job_runner.domain.decide.decision import DecisionBuilder
from kube_job_runner.domain.job import Attempt, Verdict
from kube_job_runner.domain.states import State

_PROGRAM_ENDED = "ProgramEnded"  # the program has ended by itself, its cluster job has not


def running(builder: DecisionBuilder, attempt: Attempt) -> Attempt:
    """Return the attempt of a program that has started, with its start; the job is then `running`."""
    attempt = endings.with_start(builder, waiting.end(builder, attempt))
    if builder.job.state is State.STARTING:
        builder.move(State.RUNNING, attempt=attempt.number, reason="Started")
    return attempt


def await_its_job(builder: DecisionBuilder, attempt: Attempt) -> bool:
    """Decide about a program that has ended by itself while its Job has not: True when that decides all.

    The Job follows within seconds, and neither a cancel nor the run timeout may overtake it. It never follows while another
    container keeps the pod, or while the Job controller is down. So after a bound the end of the program is the end.
    """
    verdict = diagnosis.own_end(attempt.facts, builder.rules.table)
    if verdict is None:
        return False
    attempt = running(builder, attempt)
    pending = attempt.unhealthy_reason == _PROGRAM_ENDED and attempt.unhealthy_since is not None
    since = attempt.unhealthy_since if pending and attempt.unhealthy_since else builder.now
    others = diagnosis.others_running(attempt.facts)
    until = _wait_for_job_until(builder, since, others=bool(others))
    unwanted = bool(others) and builder.job.cancel is not None
    if unwanted or builder.now >= until:
        if unwanted or not builder.looks_first(attempt, due_at=until):
            endings.stop(builder, attempt, _without_its_job(builder, verdict, others))
        return True
    if not pending:
        attempt = msgspec.structs.replace(attempt, unhealthy_reason=_PROGRAM_ENDED, unhealthy_since=since)
        builder.put_attempt(attempt)
    if others:
        kept = f"{_named(others)} still runs and keeps the pod, and is stopped at {until:%Y-%m-%d %H:%M:%S} UTC"
        builder.update_job(explanation=f"The program has ended. {kept}.")
    builder.look_again(until)
    return True


def _wait_for_job_until(builder: DecisionBuilder, since: datetime, *, others: bool) -> datetime:
    """Return until when to wait for the end of a Job. Native sidecars get the stop grace of the pod after its program."""
    bound_seconds = builder.rules.finishing_bound_seconds
    until = builder.until(since, bound_seconds + (builder.job.policy.stop_grace_seconds if others else 0))
    cancel = builder.job.cancel
    return until if cancel is None else min(until, builder.until(cancel.at, bound_seconds))


def _without_its_job(builder: DecisionBuilder, verdict: Verdict, others: tuple[str, ...]) -> Verdict:
    """Return the verdict on a program whose Job did not follow, with the reason for that."""
    if others:
        why = f"{_named(others)} went on after the program had ended, and was stopped."
    else:
        why = f"The cluster did not record the end of its Job within {builder.rules.finishing_bound_seconds:g} s."
    return msgspec.structs.replace(verdict, explanation=f"{verdict.explanation} {why}".strip())


def _named(others: tuple[str, ...]) -> str:
    return f"Container {others[0]}" if len(others) == 1 else f"Each of the containers {', '.join(others)}"


def left_by_its_node(builder: DecisionBuilder, attempt: Attempt) -> bool:
    """Stop an attempt whose pod should have ended long ago: its node does not answer. True when that is the case."""
    pod = attempt.facts.pod
    if pod is None or pod.ended or not pod.deleting or pod.deletion_due_at is None:
        return False  # a pod that a suspension removes does not speak for the attempt (`facts.pod`)
    silent_at = builder.until(pod.deletion_due_at, builder.rules.force_after_seconds)
    if builder.now < silent_at:
        builder.look_again(silent_at)
        return False
    if not builder.looks_first(attempt, due_at=silent_at):
        endings.stop(builder, attempt, diagnosis.node_silent(pod, builder.rules.table))
    return True


def before_the_stop(builder: DecisionBuilder, attempt: Attempt) -> Verdict | None:
    """Return the verdict on an attempt that ended by itself before our stop reached it, or None: then the decision holds."""
    decided, decided_at, facts = attempt.verdict, attempt.decided_at or builder.now, attempt.facts
    pod = program_end.ended_pod(facts)
    own = diagnosis.own_end(facts, builder.rules.table)
    if own is None or pod is None or program_end.stopped_after(pod, attempt.delete_requested_at and decided_at):
        job, ending = facts.job, diagnosis.ending(facts, builder.rules.table)
        complete = job is not None and job.condition("Complete") is not None and job.ended_before(decided_at)
        return ending.verdict if ending is not None and complete else None
    if decided is not None and (decided.outcome is State.SUCCEEDED or decided.exit_code == own.exit_code is not None):
        return None  # it is the end that was decided; only what kept the pod was stopped
    return own
