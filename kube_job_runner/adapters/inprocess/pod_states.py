"""The states of a pod with one container, from before its start to its end. Pure."""

from datetime import datetime

from msgspec.structs import replace

from kube_job_runner.domain.facts import ContainerFacts, PodFacts
from kube_job_runner.domain.names import MAIN_CONTAINER


def waiting(pod: PodFacts, *, reason: str, message: str = "") -> PodFacts:
    container = ContainerFacts(name=MAIN_CONTAINER, state="waiting", reason=reason, message=message)
    return replace(pod, containers=(container,))


def running(pod: PodFacts, *, at: datetime) -> PodFacts:
    container = ContainerFacts(name=MAIN_CONTAINER, state="running", started_at=at)
    return replace(pod, phase="Running", containers=(container,))


def terminated(
    pod: PodFacts, *, code: int, reason: str, message: str = "", signal: int | None = None, at: datetime
) -> PodFacts:
    main = pod.container(MAIN_CONTAINER)
    container = ContainerFacts(
        name=MAIN_CONTAINER,
        state="terminated",
        reason=reason,
        message=message,
        exit_code=code,
        signal=signal,
        started_at=main.started_at if main else None,
        finished_at=at,
    )
    return replace(pod, phase="Failed" if code else "Succeeded", containers=(container,))
