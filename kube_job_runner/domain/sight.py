"""What one look at the cluster shows of an attempt, and how it is merged into the attempt.

A look reads without a resource version, so the API server answers from a quorum ("Resource versions" of the Kubernetes API
concepts). It is newer than all that a watch has reported before it, so it also corrects a `gone` that was wrong.
"""

from typing import TypeVar

import msgspec

from kube_job_runner.domain.facts import AttemptFacts, JobFacts, PodFacts, Seen

_ObjectT = TypeVar("_ObjectT", JobFacts, PodFacts)


class Sight(msgspec.Struct, frozen=True, kw_only=True):
    """What was found under the name of a cluster job: the Job, if there is one, and its pods by their labels.

    `pods` is None when they could not be read because a right is missing. Then nothing new is known about them.
    """

    job: JobFacts | None = None
    pods: tuple[PodFacts, ...] | None = ()


def told(facts: AttemptFacts, sight: Sight, *, cluster_uid: str) -> list[JobFacts | PodFacts]:
    """Return what a look says about each object of an attempt: as it is now, or gone.

    A Job of another uid is another Job. Of the pods, only those that the cluster job controls count, and pods that are known
    by their uid: a pod that was orphaned has no owner any more.
    """
    known = {pod.uid: pod for pod in facts.pods}
    same = sight.job is not None and sight.job.uid == cluster_uid
    job: JobFacts
    if same and sight.job is not None:
        job = sight.job
    else:
        job = msgspec.structs.replace(facts.job or JobFacts(uid=cluster_uid), gone=True)
    if sight.pods is None:
        return [job]
    ours = [pod for pod in sight.pods if pod.job_uid == cluster_uid or (not pod.job_uid and pod.uid in known)]
    seen = {pod.uid for pod in ours}
    gone = [msgspec.structs.replace(pod, gone=True) for uid, pod in known.items() if uid not in seen]
    return [job, *ours, *gone]


def corrected(facts: AttemptFacts, told: list[JobFacts | PodFacts]) -> AttemptFacts:
    """Return the facts as a look told them where the merge of facts would keep older ones.

    The merge alone never takes `gone` back. And it refuses lower resource versions for ever. An API server gives them to the
    same objects after its etcd was restored from a backup.
    """
    seen = {each.uid: each for each in told}
    job = None if facts.job is None else _as_told(facts.job, seen.get(facts.job.uid))
    pods = tuple(_as_told(pod, seen.get(pod.uid)) for pod in facts.pods)
    return facts if job == facts.job and pods == facts.pods else msgspec.structs.replace(facts, job=job, pods=pods)


def _as_told(known: _ObjectT, seen: JobFacts | PodFacts | None) -> _ObjectT:
    if not isinstance(seen, type(known)):
        return known
    if not seen.gone and seen.resource_version < known.resource_version:
        return seen
    return known if known.gone == seen.gone else msgspec.structs.replace(known, gone=seen.gone)


def steps_back(facts: AttemptFacts, seen: Seen) -> bool:
    """Return whether an object that is known has a lower version than before.

    That is either an old message, or the history of the API server was replaced. Only a look can tell.
    """
    if not isinstance(seen, JobFacts | PodFacts) or seen.gone or not seen.resource_version:
        return False
    known = {each.uid: each for each in (facts.job, *facts.pods) if each is not None}.get(seen.uid)
    return known is not None and not known.gone and seen.resource_version < known.resource_version
