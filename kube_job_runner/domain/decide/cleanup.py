"""Nothing is left behind: when a cluster job is removed, and how its removal is followed to the end.

A delete destroys evidence, so it is a message of its own, sent by the commit that recorded why. It is sent again until the
cluster job is seen to be gone. What an attempt printed is stored, followed or given up first, and the record says which
(promise I9); neither wait is without a bound.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from kube_job_runner.domain.decide import diagnosis
from kube_job_runner.domain.decide.builder import DecisionBuilder
from kube_job_runner.domain.decide.ruleset import Rules
from kube_job_runner.domain.job import Attempt
from kube_job_runner.domain.messages import Delete
from kube_job_runner.domain.states import State

_POD_FAILED = ("BackoffLimitExceeded", "PodFailurePolicy")


def nothing_left(attempt: Attempt, now: datetime, rules: Rules, stop_grace_seconds: int) -> bool:
    """Tell whether nothing of an attempt can run any more.

    That its cluster job has gone is no proof. Foreground propagation holds it until its pods are gone, but only those that
    the garbage collector knew of: one made while the delete came in outlives it. And whoever deletes it otherwise leaves
    its pods behind. So its pods must have ended too, and one that was never seen is given a while to appear.
    """
    job = attempt.facts.job
    if job is None or not job.gone:
        return False
    return pods_ended(attempt) or now >= waited_enough_at(attempt, now, rules, stop_grace_seconds)


def waited_enough_at(attempt: Attempt, now: datetime, rules: Rules, stop_grace_seconds: int) -> datetime:
    """Return until when the pods of a vanished cluster job are waited for: those that stay are removed by force before."""
    if not attempt.facts.pods:
        return (attempt.gone_at or now) + timedelta(seconds=rules.pod_unseen_bound_seconds)
    return force_at(attempt, now, rules, stop_grace_seconds) + timedelta(seconds=rules.pod_gone_bound_seconds)


def force_at(attempt: Attempt, now: datetime, rules: Rules, stop_grace_seconds: int) -> datetime:
    """Return when pods that are still there are removed by force: long after the node should have killed them."""
    wait_seconds = stop_grace_seconds + rules.force_after_seconds
    return (attempt.decided_at or now) + timedelta(seconds=wait_seconds)


def pods_ended(attempt: Attempt) -> bool:
    """Tell whether a pod was seen, and every pod that was seen has ended. A pod not seen yet may still come."""
    return bool(attempt.facts.pods) and all(pod.ended for pod in attempt.facts.pods)


def remove_finished(builder: DecisionBuilder) -> None:
    """Ask for the removal of every cluster job that has served its purpose, and note those that are gone."""
    for attempt in list(builder.attempts.values()):
        if attempt.cluster_uid is None:
            continue
        job_facts = attempt.facts.job
        if job_facts is not None and job_facts.gone:
            if attempt.gone_at is None:
                builder.put_attempt(msgspec.structs.replace(attempt, gone_at=builder.now))
            if _stopping(builder, attempt):
                _remove_pods(builder, builder.attempts[attempt.number])
        elif attempt.verdict is not None and attempt.gone_at is None:
            _remove(builder, attempt)


def _stopping(builder: DecisionBuilder, attempt: Attempt) -> bool:
    return attempt.number == builder.job.attempt and builder.job.state is State.STOPPING


def _remove(builder: DecisionBuilder, attempt: Attempt) -> None:
    """Ask for the removal of a cluster job with its pods, when it is time to ask or to ask again."""
    job_facts = attempt.facts.job
    ended = job_facts is not None and (job_facts.condition("Complete") or job_facts.condition("Failed")) is not None
    due = attempt.decided_at or builder.now
    if ended and not _stopping(builder, attempt):
        due += timedelta(seconds=builder.rules.cleanup_delay_seconds)
    grace_seconds = _kill_grace(builder, attempt)
    if grace_seconds is None and not ended:
        # The garbage collector takes its time, in a burst minutes: the pods are told to end now, not when their turn comes.
        grace_seconds = builder.job.policy.stop_grace_seconds
    pods = _left(attempt) if grace_seconds is not None else ()
    _ask(builder, attempt, due=due, pods=pods, grace_seconds=grace_seconds, wait_for_pods=not ended)


def _remove_pods(builder: DecisionBuilder, attempt: Attempt) -> None:
    """Ask for the removal of pods that outlive their cluster job, once the garbage collector has had a moment to do it.

    After an orphaning delete it never will.
    """
    pods = _left(attempt)
    if pods:
        due = (attempt.gone_at or builder.now) + timedelta(seconds=builder.rules.pod_unseen_bound_seconds)
        grace_seconds = _kill_grace(builder, attempt)
        given = builder.job.policy.stop_grace_seconds if grace_seconds is None else grace_seconds
        _ask(builder, attempt, due=due, pods=pods, grace_seconds=given, wait_for_pods=False)


def _ask(
    builder: DecisionBuilder,
    attempt: Attempt,
    *,
    due: datetime,
    pods: tuple[tuple[str, str], ...],
    grace_seconds: int | None,
    wait_for_pods: bool,
) -> None:
    now, recheck = builder.now, timedelta(seconds=builder.rules.recheck_seconds)
    if attempt.delete_requested_at is not None:
        by_force_at = force_at(attempt, now, builder.rules, builder.job.policy.stop_grace_seconds)
        if now < by_force_at:
            builder.look_again(by_force_at)
        if not pods or grace_seconds == attempt.delete_grace_seconds:
            due = max(due, attempt.delete_requested_at + recheck)
    if now < due:
        builder.look_again(due)
        return
    if attempt.delete_requested_at is None:
        stopping, rules = _stopping(builder, attempt), builder.rules
        until = _log_awaited_until(attempt, now, rules, stopping=stopping)
        if until is not None and now < until:
            builder.look_again(min(until, now + timedelta(seconds=rules.log_recheck_seconds)))
            return
        if until is not None:
            attempt = msgspec.structs.replace(attempt, logs_lost=_given_up(attempt, rules, stopping=stopping))
    assert attempt.cluster_uid is not None
    builder.put_attempt(
        msgspec.structs.replace(attempt, delete_requested_at=now, delete_grace_seconds=grace_seconds if pods else None)
    )
    builder.send(
        Delete(
            job_id=attempt.job_id,
            attempt=attempt.number,
            namespace=attempt.namespace,
            cluster_name=attempt.cluster_name,
            cluster_uid=attempt.cluster_uid,
            wait_for_pods=wait_for_pods,
            pods=pods,
            grace_seconds=grace_seconds,
        ),
    )
    builder.look_again(now + recheck)


def _left(attempt: Attempt) -> tuple[tuple[str, str], ...]:
    return tuple((pod.name, pod.uid) for pod in attempt.facts.pods if not pod.ended)


def _kill_grace(builder: DecisionBuilder, attempt: Attempt) -> int | None:
    """Return the grace period that a delete gives to the pods, in seconds; None leaves them that of their spec."""
    left = [pod for pod in attempt.facts.pods if not pod.ended]
    if left and builder.now >= force_at(attempt, builder.now, builder.rules, builder.job.policy.stop_grace_seconds):
        node = left[-1].node or "(none)"
        detail = f"pod {left[-1].name} did not end; it was removed by force and may still run on node {node}"
        builder.record_anomaly(attempt=attempt.number, kind="RemovedByForce", detail=detail)
        return 0
    cancel = builder.job.cancel
    return cancel.grace_seconds if cancel is not None and attempt.number == builder.job.attempt else None


def log_expected(attempt: Attempt) -> bool:
    """Tell whether an attempt can have printed anything that can be asked for: a container has run, of a pod that is known.

    A Job that is complete has had one that ran, even when its pod was last seen before that.
    """
    if attempt.started_at is not None:
        return True
    job = attempt.facts.job
    if attempt.facts.pods and job is not None and job.condition("Complete") is not None:
        return True
    containers = (container for pod in attempt.facts.pods for container in pod.containers)
    return any(container.state == "running" or container.started_at is not None for container in containers)


def pod_unseen(attempt: Attempt) -> bool:
    """Tell whether a pod has run that no watch has shown yet: what it printed can be read only when its name is known."""
    job = attempt.facts.job
    if job is None or attempt.facts.pods:
        return False
    failed = job.condition("Failed")
    return job.condition("Complete") is not None or (failed is not None and failed.reason in _POD_FAILED)


def _log_awaited_until(attempt: Attempt, now: datetime, rules: Rules, *, stopping: bool) -> datetime | None:
    """Return until when a delete waits for the log of an attempt; None when there is nothing to wait for.

    What is being stopped only has to be followed: its last lines come while it ends.
    """
    expected = log_expected(attempt) or pod_unseen(attempt)
    if attempt.logs in ("stored", "lost") or not expected or attempt.facts.gone:
        return None
    if stopping and attempt.logs == "following":
        return None
    bound_seconds = rules.log_stop_bound_seconds if stopping else rules.log_deadline_seconds
    return (attempt.decided_at or now) + timedelta(seconds=bound_seconds)


def _given_up(attempt: Attempt, rules: Rules, *, stopping: bool) -> str:
    if pod_unseen(attempt):
        return "its pod was never seen"
    if stopping:
        return f"no log-collector took the log within {rules.log_stop_bound_seconds:g} s before the stop"
    return f"no log-collector stored the log within {rules.log_deadline_seconds:g} s, and the cluster job was removed"


def note_anomalies(builder: DecisionBuilder) -> None:
    """Record what contradicts a terminal state: it is never overwritten."""
    job = builder.job
    attempt = builder.attempts.get(job.attempt)
    if attempt is None or attempt.verdict is None:
        return
    job_facts = attempt.facts.job
    completed = job_facts is not None and not job_facts.deleting and job_facts.condition("Complete") is not None
    if completed and job.state is not State.SUCCEEDED:
        builder.record_anomaly(
            attempt=attempt.number, kind="CompletedAfterEnd", detail=f"the job had ended as {job.state}: {job.reason}"
        )
    if attempt.started_at is None and job.state is State.FAILED and diagnosis.has_started(attempt.facts):
        builder.record_anomaly(
            attempt=attempt.number, kind="StartedAfterEnd", detail=f"the job had ended as {job.state}: {job.reason}"
        )
