"""Nothing is left behind: when a cluster job is removed, and how its removal is followed to the end.

A delete destroys evidence, so it is a message of its own, sent by the commit that recorded why. It is sent again until the
cluster job is seen to be gone.
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
    grace_seconds = _kill_grace(draft, attempt)
    if attempt.delete_requested_at is not None and now < (force_at := _force_at(draft, attempt)):
        draft.look_again(force_at)
    if attempt.delete_requested_at is not None and grace_seconds == attempt.delete_grace_seconds:
        due = max(due, attempt.delete_requested_at + timedelta(seconds=rules.recheck_seconds))
    if now < due:
        draft.look_again(due)
        return
    assert attempt.cluster_uid is not None
    draft.put(msgspec.structs.replace(attempt, delete_requested_at=now, delete_grace_seconds=grace_seconds))
    left = tuple((pod.name, pod.uid) for pod in attempt.facts.pods if not pod.ended)
    draft.send(
        Delete(
            job_id=attempt.job_id,
            attempt=attempt.number,
            namespace=attempt.namespace,
            cluster_name=attempt.cluster_name,
            cluster_uid=attempt.cluster_uid,
            wait_for_pods=not ended,
            pods=left if grace_seconds is not None else (),
            grace_seconds=grace_seconds,
        ),
    )
    draft.look_again(now + timedelta(seconds=rules.recheck_seconds))


def _force_at(draft: Draft, attempt: Attempt) -> datetime:
    """Return when pods that are still there are removed by force: long after the node should have killed them."""
    wait_seconds = draft.job.policy.stop_grace_seconds + draft.rules.force_after_seconds
    return (attempt.decided_at or draft.now) + timedelta(seconds=wait_seconds)


def _kill_grace(draft: Draft, attempt: Attempt) -> int | None:
    """Return the grace period that a delete gives to the pods, in seconds; None leaves them that of their spec."""
    left = [pod for pod in attempt.facts.pods if not pod.ended]
    if left and draft.now >= _force_at(draft, attempt):
        node = left[-1].node or "(none)"
        detail = f"pod {left[-1].name} did not end; it was removed by force and may still run on node {node}"
        draft.note(attempt=attempt.number, kind="RemovedByForce", detail=detail)
        return 0
    cancel = draft.job.cancel
    return cancel.grace_seconds if cancel is not None and attempt.number == draft.job.attempt else None


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
