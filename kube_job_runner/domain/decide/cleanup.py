"""Removes what an attempt leaves in the cluster, and follows each removal to its end.

A delete destroys evidence. So the commit that records the reason sends it as a separate message, again and again until
the cluster job is gone. Before the first delete, the log is stored, followed or given up, within a bounded time.
"""

from datetime import datetime, timedelta

import msgspec

from kube_job_runner.domain.decide import create_lease
from kube_job_runner.domain.decide.decision import DecisionBuilder
from kube_job_runner.domain.decide.ruleset import Rules
from kube_job_runner.domain.job import Attempt
from kube_job_runner.domain.messages import Delete
from kube_job_runner.domain.states import State

_POD_FAILED = ("BackoffLimitExceeded", "PodFailurePolicy")

Pods = tuple[tuple[str, str], ...]
"""Name and uid of each."""


def nothing_left(builder: DecisionBuilder, attempt: Attempt) -> bool:
    """Return whether nothing of an attempt can run any more.

    A cluster job that is gone proves nothing about its pods. Foreground deletion waits only for the pods that the garbage
    collector knew of, so a pod that was made meanwhile outlives it. Other ways to delete leave the pods behind. So all pods
    must have ended too, and a pod that was never seen gets some time to appear.
    """
    job = attempt.facts.job
    if job is None or not job.gone:
        return False
    return pods_ended(attempt) or builder.now >= waited_enough_at(builder, attempt)


def waited_enough_at(builder: DecisionBuilder, attempt: Attempt) -> datetime:
    """Return the time until which to wait for the pods of a cluster job that is gone. They are removed by force before that."""
    rules = builder.rules
    if not attempt.facts.pods:
        return (attempt.gone_at or builder.now) + timedelta(seconds=rules.pod_unseen_bound_seconds)
    return _force_at(builder, attempt) + timedelta(seconds=rules.pod_gone_bound_seconds)


def _force_at(builder: DecisionBuilder, attempt: Attempt) -> datetime:
    """Return when pods that still exist are removed by force: long after the node should have killed them."""
    wait_seconds = builder.job.policy.stop_grace_seconds + builder.rules.force_after_seconds
    return builder.until(attempt.decided_at or builder.now, wait_seconds)


def pods_ended(attempt: Attempt) -> bool:
    """Return whether a pod was seen, and every pod that was seen has ended. A pod that was not seen may still come."""
    return bool(attempt.facts.pods) and all(pod.ended for pod in attempt.facts.pods)


def remove_finished(builder: DecisionBuilder) -> None:
    """Send a delete for every cluster job that is no longer needed, and record those that are gone."""
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
    """Send a delete of a cluster job with its pods, when it is due for the first time or again."""
    job_facts = attempt.facts.job
    ended = job_facts is not None and (job_facts.condition("Complete") or job_facts.condition("Failed")) is not None
    due = attempt.decided_at or builder.now
    if ended and not _stopping(builder, attempt):
        due += timedelta(seconds=builder.rules.cleanup_delay_seconds)
        # As long as it is there, a late create of its name makes nothing.
        due = max(due, create_lease.settled_at(builder.job, builder.rules) or due)
    grace_seconds = _kill_grace(builder, attempt)
    if grace_seconds is None and not ended:
        # Under load the garbage collector takes minutes, so the pods are deleted now, without it.
        grace_seconds = builder.job.policy.stop_grace_seconds
    pods = _left(attempt) if grace_seconds is not None else ()
    _delete(builder, attempt, due=due, pods=pods, grace_seconds=grace_seconds, wait_for_pods=not ended)


def _remove_pods(builder: DecisionBuilder, attempt: Attempt) -> None:
    """Send a delete of pods that outlive their cluster job, after a short time for the garbage collector to remove them.

    After a delete that orphans them it never does.
    """
    pods = _left(attempt)
    if pods:
        due = (attempt.gone_at or builder.now) + timedelta(seconds=builder.rules.pod_unseen_bound_seconds)
        grace_seconds = _kill_grace(builder, attempt)
        given = builder.job.policy.stop_grace_seconds if grace_seconds is None else grace_seconds
        _delete(builder, attempt, due=due, pods=pods, grace_seconds=given, wait_for_pods=False)


def _delete(
    builder: DecisionBuilder,
    attempt: Attempt,
    *,
    due: datetime,
    pods: Pods,
    grace_seconds: int | None,
    wait_for_pods: bool,
) -> None:
    now, recheck = builder.now, timedelta(seconds=builder.rules.recheck_seconds)
    if attempt.delete_requested_at is not None:
        force_at = _force_at(builder, attempt)
        if now < force_at:
            builder.look_again(force_at)
        first_of_pods = attempt.gone_at is not None and attempt.delete_requested_at < due
        if not first_of_pods and (not pods or grace_seconds == attempt.delete_grace_seconds):
            due = max(due, attempt.delete_requested_at + recheck)
    if now < due:
        builder.look_again(due)
        return
    if _repeated(builder, attempt) and builder.looks_first(attempt, due_at=due):
        return
    ready = _with_log_settled(builder, attempt)
    if ready is None:
        return
    builder.put_attempt(
        msgspec.structs.replace(ready, delete_requested_at=now, delete_grace_seconds=grace_seconds if pods else None)
    )
    builder.send(_message(attempt, pods=pods, grace_seconds=grace_seconds, wait_for_pods=wait_for_pods))
    builder.look_again(now + recheck)


def _repeated(builder: DecisionBuilder, attempt: Attempt) -> bool:
    """Return whether a delete follows an earlier one that seems to have had no effect: its effect may not be known yet."""
    requested_at = attempt.delete_requested_at
    if requested_at is None:
        return False
    recheck = timedelta(seconds=builder.rules.recheck_seconds)
    return attempt.gone_at is not None or builder.now >= min(requested_at + recheck, _force_at(builder, attempt))


def _with_log_settled(builder: DecisionBuilder, attempt: Attempt) -> Attempt | None:
    """Return the attempt, with the reason if its log is given up; None while the delete must wait for its log."""
    if attempt.delete_requested_at is not None:
        return attempt
    if attempt.number > builder.job.attempt:
        return msgspec.structs.replace(attempt, logs_lost="it was made after the end of its job, and removed at once")
    now, rules = builder.now, builder.rules
    stopping = _stopping(builder, attempt) or _still_runs(attempt)
    until = _log_awaited_until(builder, attempt, stopping=stopping)
    if until is None:
        return attempt
    if now < until:
        builder.look_again(min(until, now + timedelta(seconds=rules.log_recheck_seconds)))
        return None
    return msgspec.structs.replace(attempt, logs_lost=_why_given_up(attempt, rules, stopping=stopping))


def _message(attempt: Attempt, *, pods: Pods, grace_seconds: int | None, wait_for_pods: bool) -> Delete:
    assert attempt.cluster_uid is not None  # `remove_finished` skips the others
    return Delete(
        job_id=attempt.job_id,
        attempt=attempt.number,
        namespace=attempt.namespace,
        cluster_name=attempt.cluster_name,
        cluster_uid=attempt.cluster_uid,
        wait_for_pods=wait_for_pods,
        pods=pods,
        grace_seconds=grace_seconds,
    )


def _still_runs(attempt: Attempt) -> bool:
    """Return whether the program of an attempt that has ended for us still runs. Its log has no end to wait for."""
    job = attempt.facts.job
    if job is None or job.condition("Complete") is not None or job.condition("Failed") is not None:
        return False
    return any(pod.main is not None and pod.main.state == "running" and not pod.ended for pod in attempt.facts.pods)


def _left(attempt: Attempt) -> Pods:
    return tuple((pod.name, pod.uid) for pod in attempt.facts.pods if not pod.ended)


def _kill_grace(builder: DecisionBuilder, attempt: Attempt) -> int | None:
    """Return the grace period that a delete gives to the pods, in seconds; None leaves them the one of their spec."""
    left = [pod for pod in attempt.facts.pods if not pod.ended]
    if left and builder.now >= _force_at(builder, attempt):
        node = left[-1].node or "(none)"
        detail = f"pod {left[-1].name} did not end; it was removed by force and may still run on node {node}"
        builder.record_anomaly(attempt=attempt.number, kind="RemovedByForce", detail=detail)
        return 0
    cancel = builder.job.cancel
    return cancel.grace_seconds if cancel is not None and attempt.number == builder.job.attempt else None


def log_expected(attempt: Attempt) -> bool:
    """Return whether an attempt may have a log that can be read: a container of a known pod has run.

    The container of a complete Job has run, even when its pod was last seen before that.
    """
    if attempt.started_at is not None:
        return True
    job = attempt.facts.job
    if attempt.facts.pods and job is not None and job.condition("Complete") is not None:
        return True
    containers = (container for pod in attempt.facts.pods for container in pod.containers)
    return any(container.state == "running" or container.started_at is not None for container in containers)


def pod_unseen(attempt: Attempt) -> bool:
    """Return whether a pod has run that no watch has shown yet. Its log can be read only when its name is known."""
    job = attempt.facts.job
    if job is None or attempt.facts.pods:
        return False
    failed = job.condition("Failed")
    return job.condition("Complete") is not None or (failed is not None and failed.reason in _POD_FAILED)


def _log_awaited_until(builder: DecisionBuilder, attempt: Attempt, *, stopping: bool) -> datetime | None:
    """Return the time until which a delete waits for the log of an attempt; None when it need not wait.

    When a job is being stopped, it is enough that its log is followed: the last lines come while it ends.
    """
    expected = log_expected(attempt) or pod_unseen(attempt)
    if attempt.logs in ("stored", "lost") or not expected or attempt.facts.gone:
        return None
    if stopping and attempt.logs == "following":
        return None
    rules = builder.rules
    bound_seconds = rules.log_stop_bound_seconds if stopping else rules.log_deadline_seconds
    return builder.until(attempt.decided_at or builder.now, bound_seconds)


def _why_given_up(attempt: Attempt, rules: Rules, *, stopping: bool) -> str:
    """Return why the log of an attempt is no longer waited for."""
    if pod_unseen(attempt):
        return "its pod was never seen"
    if stopping:
        return f"no log-collector took the log within {rules.log_stop_bound_seconds:g} s before the stop"
    return f"no log-collector stored the log within {rules.log_deadline_seconds:g} s, and the cluster job was removed"
