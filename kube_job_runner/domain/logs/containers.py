"""Containers of an attempt: whose logs to read, and whether a container has started or ended."""

from datetime import datetime

from kube_job_runner.domain.facts import ContainerFacts, PodFacts
from kube_job_runner.domain.names import MAIN_CONTAINER


def to_read(pod: PodFacts | None, *, ended: bool) -> list[str]:
    """Return the names of the containers that have a log, or, before the end, that may still get one."""
    if pod is None or not pod.containers:
        return [MAIN_CONTAINER]
    found = [container.name for container in pod.containers if not ended or has_run(pod, container.name)]
    # An attempt that is on the list of logs has run, even if nobody saw its pod run.
    return found or [MAIN_CONTAINER]


def has_run(pod: PodFacts | None, name: str) -> bool:
    """Return whether a container has started at least once. For an unknown pod, only the main container counts as started."""
    found = _find(pod, name)
    if found is None:
        return name == MAIN_CONTAINER
    return found.state == "running" or found.started_at is not None or found.restarts > 0


def started_at(pod: PodFacts | None, name: str) -> datetime | None:
    """Return when a container started, or None if that is unknown or if it was restarted."""
    found = _find(pod, name)
    return found.started_at if found is not None and not found.restarts else None


def has_ended(pod: PodFacts | None, name: str) -> bool:
    """Return whether a container is known to have terminated."""
    found = _find(pod, name)
    return found is not None and found.state == "terminated"


def _find(pod: PodFacts | None, name: str) -> ContainerFacts | None:
    return pod.container(name) if pod is not None else None
