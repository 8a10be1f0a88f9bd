"""Strays: cluster jobs with the name of a recorded attempt and another uid. They are removed by that uid, at once.

A name is created once. It is created again only when a processor was suspended in the middle of its create, or when a create
whose answer was lost arrived after the removal of the first one. Nobody waits for such a cluster job, and its program runs a
second time, so its log is not waited for.
"""

from kube_job_runner.domain.facts import JobFacts, PodFacts, Seen
from kube_job_runner.domain.job import Attempt, Job
from kube_job_runner.domain.messages import Delete


def seen(job: Job, attempt: Attempt, facts: Seen) -> Delete | None:
    """Return how to remove what was seen under the name of an attempt, if it is a stray or a pod of one."""
    if attempt.cluster_uid is None:
        return None
    if isinstance(facts, JobFacts):
        gone = facts.gone or facts.deleting or facts.uid == attempt.cluster_uid
        return None if gone else removal(job, attempt, cluster_uid=facts.uid)
    if not isinstance(facts, PodFacts) or facts.job_uid in ("", attempt.cluster_uid):
        return None
    if facts.ended or facts.deleting:
        return None
    return removal(job, attempt, cluster_uid=facts.job_uid, pods=((facts.name, facts.uid),))


def removal(job: Job, attempt: Attempt, *, cluster_uid: str, pods: tuple[tuple[str, str], ...] = ()) -> Delete:
    """Return the message that removes a stray, and those of its pods that are known."""
    cancel = job.cancel
    grace_seconds = cancel.grace_seconds if cancel is not None else None
    return Delete(
        job_id=job.id,
        attempt=attempt.number,
        namespace=attempt.namespace,
        cluster_name=attempt.cluster_name,
        cluster_uid=cluster_uid,
        wait_for_pods=True,
        pods=pods,
        grace_seconds=job.policy.stop_grace_seconds if grace_seconds is None else grace_seconds,
    )
