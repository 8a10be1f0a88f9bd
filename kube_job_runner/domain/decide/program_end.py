"""Whether the program of an attempt ended by itself, or because its pod was deleted or disrupted.

The evidence decides, never the order in which it arrived. A version of the pod that shows the end of the main container and no
deletion proves that the program ended first. Else the times decide: `finishedAt` of the container against the time at
which the deletion was requested. Both are in whole seconds, so within one second the deletion counts as first. When only the
last delete was seen, which the kubelet sends after the containers have ended (pkg/kubelet/status, grace period 0), a program
that ended long before it ended by itself.
"""

from datetime import datetime, timedelta

from kube_job_runner.domain.facts import AttemptFacts, ContainerFacts, PodFacts

_STOP_CODES = (137, 143)  # 128 + SIGKILL, 128 + SIGTERM
_STOP_MARGIN_SECONDS = 5.0
_START_MARGIN_SECONDS = 60.0
_LAST_DELETE_SECONDS = 60.0  # from the end of the containers to the kubelet's delete, with much to spare


def ended_pod(facts: AttemptFacts) -> PodFacts | None:
    """Return the pod whose program ended by itself and so speaks for the attempt, or None.

    Of several pods one that succeeded counts, as it does for the Job; else only the newest.
    """
    ended = [pod for pod in facts.pods if ended_by_itself(pod)]
    succeeded = [pod for pod in ended if exit_code(pod) == 0]
    if succeeded:
        return succeeded[-1]
    return ended[-1] if ended and ended[-1] is facts.newest_pod else None


def exit_code(pod: PodFacts) -> int | None:
    """Return the exit code of the program, or None. All containers of a `Succeeded` pod ended with 0 (core/v1 PodPhase)."""
    main = pod.main
    if main is not None and main.state == "terminated" and main.exit_code is not None:
        return main.exit_code
    return 0 if pod.phase == "Succeeded" else None


def ended_by_itself(pod: PodFacts) -> bool:
    """Return whether the program of a pod is known to have ended before anything stopped it."""
    main = pod.main
    if exit_code(pod) is None or (main is not None and main.state == "terminated" and not main.saw_end):
        return False
    disrupted = pod.find_condition("DisruptionTarget")
    if disrupted is not None and disrupted.status == "True":
        return _before(pod, disrupted.at)
    if pod.phase == "Failed" and pod.reason:
        return False  # the kubelet ended the pod; before 1.26 it does not say when
    restarted = main is not None and main.restarts > 0  # an earlier run may be the one that ended first
    if pod.showed_end_first and not (restarted and pod.deletion_asked):
        return True
    if pod.deletion_requested_at is None and pod.deletion_due_at is not None:
        ends = [container.finished_at for container in pod.containers if container.finished_at is not None]
        slack = timedelta(seconds=_LAST_DELETE_SECONDS)
        return _before(pod, pod.deletion_due_at) and max(ends) + slack < pod.deletion_due_at
    return _before(pod, pod.deletion_requested_at)


def was_removed(pod: PodFacts) -> bool:
    """Return whether anybody deleted the pod, or moved it off its node."""
    disrupted = pod.find_condition("DisruptionTarget")
    return pod.deletion_asked or (disrupted is not None and disrupted.status == "True")


def failed_alone(pod: PodFacts, container: ContainerFacts) -> bool:
    """Return whether a container failed, and not because its pod was removed."""
    if container.state != "terminated" or container.exit_code in (0, None):
        return False
    disrupted = pod.find_condition("DisruptionTarget")
    moment = pod.deletion_requested_at or (disrupted.at if disrupted is not None else None)
    before = moment is not None and container.finished_at is not None and container.finished_at < moment
    return before or not was_removed(pod)


def stopped_after(pod: PodFacts, asked_at: datetime | None) -> bool:
    """Return whether a program ended by a stop signal after we asked for its deletion, at `asked_at`."""
    main = pod.main
    if asked_at is None or main is None or main.exit_code not in _STOP_CODES:
        return False
    return main.finished_at is None or main.finished_at >= asked_at


def _before(pod: PodFacts, moment: datetime | None) -> bool:
    """Return whether the main container ended before a moment of the API server's clock."""
    main = pod.main
    if moment is None or main is None or main.finished_at is None:
        return False
    margin = timedelta(seconds=_STOP_MARGIN_SECONDS if main.exit_code in _STOP_CODES else 0.0)
    return main.finished_at + _clock_lag(pod, main) + margin < moment


def _clock_lag(pod: PodFacts, main: ContainerFacts) -> timedelta:
    """Return by how much the node's clock may be behind that of the API server: nothing starts before it is created.

    How long the start took is not known then, so it gets a margin.
    """
    if pod.created_at is None or main.started_at is None or main.started_at >= pod.created_at:
        return timedelta()
    return pod.created_at - main.started_at + timedelta(seconds=_START_MARGIN_SECONDS)
