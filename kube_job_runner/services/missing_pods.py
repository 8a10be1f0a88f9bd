"""The pods that the store knows and a list has not shown: after a complete list they are gone, though nobody saw them go."""

from collections.abc import Awaitable, Callable, Sequence

from kube_job_runner import ports
from kube_job_runner.domain.facts import PodFacts
from kube_job_runner.domain.messages import Observed

KnownPods = Callable[[], Awaitable[Sequence[ports.KnownPod]]]


class MissingPods:
    """What one list of pods has not shown yet."""

    def __init__(self, known: Sequence[ports.KnownPod] = ()) -> None:
        self._left = {pod.uid: pod for pod in known}

    def shown(self, uid: str) -> None:
        """Note that a pod was seen, or seen to be gone: either is reported by itself."""
        self._left.pop(uid, None)

    def after(self, namespace: str | None) -> list[tuple[str, Observed]]:
        """Return, once, by uid the observations of what the list of a namespace (None: of all) should have shown."""
        gone = [pod for pod in self._left.values() if namespace in (None, pod.namespace)]
        for pod in gone:
            del self._left[pod.uid]
        return [
            (pod.uid, Observed(job_id=pod.job_id, attempt=pod.attempt, seen=PodFacts(uid=pod.uid, gone=True)))
            for pod in gone
        ]
