"""Nothing is left behind: when a cluster job is removed, and how its removal is followed to the end.

A delete destroys evidence, so it is a message of its own, sent by the commit that recorded why. It is sent again until the
cluster job is seen to be gone. What an attempt printed is stored, followed or given up first, and the record says which
(promise I9); neither wait is without a bound.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from kube_job_runner.domain import diagnosis
from kube_job_runner.domain.draft import Draft, Rules
from kube_job_runner.domain.job import Attempt, State
from kube_job_runner.domain.messages import Delete


def nothing_left(attempt: Attempt, now: datetime, rules: Rules) -> bool:
    """Tell whether nothing of an attempt can run any more.

    A cluster job that we asked to delete stays visible until its pods are gone (foreground propagation), so its own
    disappearance is proof. One that somebody else deleted leaves its pods to be waited for, up to a bound.
    """
    job = attempt.facts.job
    if job is None or not job.gone:
        return False
    if attempt.delete_requested_at is not None or pods_ended(attempt):
        return True
    return now >= waited_enough_at(attempt, now, rules)


def waited_enough_at(attempt: Attempt, now: datetime, rules: Rules) -> datetime:
    """Return when the pods of a vanished cluster job have been waited for long enough."""
    bound_seconds = rules.pod_gone_bound_seconds if attempt.facts.pods else rules.pod_unseen_bound_seconds
    return (attempt.decided_at or now) + timedelta(seconds=bound_seconds)


def pods_ended(attempt: Attempt) -> bool:
    """Tell whether a pod was seen, and every pod that was seen has ended. A pod not seen yet may still come."""
    return bool(attempt.facts.pods) and all(pod.ended for pod in attempt.facts.pods)


def remove_finished(draft: Draft) -> None:
    """Ask for the removal of every cluster job that has served its purpose, and note those that are gone."""
    for attempt in list(draft.attempts.values()):
        if attempt.cluster_uid is None or attempt.gone_at is not None:
            continue
        job_facts = attempt.facts.job
        if job_facts is not None and job_facts.gone:
            draft.put(msgspec.structs.replace(attempt, gone_at=draft.now))
        elif attempt.verdict is not None:
            _remove(draft, attempt)


def _remove(draft: Draft, attempt: Attempt) -> None:
    now, rules = draft.now, draft.rules
    job_facts = attempt.facts.job
    ended = job_facts is not None and (job_facts.condition("Complete") or job_facts.condition("Failed")) is not None
    stopping = attempt.number == draft.job.attempt and draft.job.state is State.STOPPING
    due = attempt.decided_at or now
    if ended and not stopping:
        due += timedelta(seconds=rules.cleanup_delay_seconds)
    if attempt.delete_requested_at is not None:
        due = max(due, attempt.delete_requested_at + timedelta(seconds=rules.recheck_seconds))
    if now < due:
        draft.look_again(due)
        return
    if attempt.delete_requested_at is None:
        until = _log_awaited_until(attempt, now, rules, stopping=stopping)
        if until is not None and now < until:
            draft.look_again(min(until, now + timedelta(seconds=rules.log_recheck_seconds)))
            return
        if until is not None:
            attempt = msgspec.structs.replace(attempt, logs_lost=_given_up(rules, stopping=stopping))
    assert attempt.cluster_uid is not None
    draft.put(msgspec.structs.replace(attempt, delete_requested_at=now))
    draft.send(
        Delete(
            job_id=attempt.job_id,
            attempt=attempt.number,
            namespace=attempt.namespace,
            cluster_name=attempt.cluster_name,
            cluster_uid=attempt.cluster_uid,
            wait_for_pods=not ended,
        ),
    )
    draft.look_again(now + timedelta(seconds=rules.recheck_seconds))


def log_expected(attempt: Attempt) -> bool:
    """Tell whether an attempt can have printed anything: some container of it has run."""
    if attempt.started_at is not None:
        return True
    containers = (container for pod in attempt.facts.pods for container in pod.containers)
    return any(container.state == "running" or container.started_at is not None for container in containers)


def _log_awaited_until(attempt: Attempt, now: datetime, rules: Rules, *, stopping: bool) -> datetime | None:
    """Return until when a delete waits for the log of an attempt; None when there is nothing to wait for.

    What is being stopped only has to be followed: its last lines come while it ends.
    """
    if attempt.logs in ("stored", "lost") or not log_expected(attempt) or attempt.facts.gone:
        return None
    if stopping and attempt.logs == "following":
        return None
    bound_seconds = rules.log_stop_bound_seconds if stopping else rules.log_deadline_seconds
    return (attempt.decided_at or now) + timedelta(seconds=bound_seconds)


def _given_up(rules: Rules, *, stopping: bool) -> str:
    if stopping:
        return f"no log-collector took the log within {rules.log_stop_bound_seconds:g} s before the stop"
    return f"no log-collector stored the log within {rules.log_deadline_seconds:g} s, and the cluster job was removed"


def note_anomalies(draft: Draft) -> None:
    """Record what contradicts a terminal state: it is never overwritten."""
    job = draft.job
    attempt = draft.attempts.get(job.attempt)
    if attempt is None or attempt.verdict is None:
        return
    job_facts = attempt.facts.job
    completed = job_facts is not None and not job_facts.deleting and job_facts.condition("Complete") is not None
    if completed and job.state is not State.SUCCEEDED:
        draft.note(
            attempt=attempt.number, kind="CompletedAfterEnd", detail=f"the job had ended as {job.state}: {job.reason}"
        )
    if attempt.started_at is None and job.state is State.FAILED and diagnosis.has_started(attempt.facts):
        draft.note(
            attempt=attempt.number, kind="StartedAfterEnd", detail=f"the job had ended as {job.state}: {job.reason}"
        )
