"""From objects of the Kubernetes API to facts. A missing or null field becomes the default of its fact."""

import uuid

from kube_job_runner.adapters.kubernetes import api_objects
from kube_job_runner.domain import names
from kube_job_runner.domain.facts import Condition, ContainerFacts, ContainerState, EventFacts, JobFacts, PodFacts

MESSAGE_MAX_BYTES = 4096
EVENT_MESSAGE_MAX_BYTES = 1024  # the limit of events.k8s.io/v1; core/v1 sets none
UNKNOWN_ID = uuid.UUID(int=0)


def clean(text: str | None, *, max_bytes: int = MESSAGE_MAX_BYTES) -> str:
    """Return a message that the store takes: without NUL, at most `max_bytes` of UTF-8."""
    if not text:
        return ""
    if "\0" in text:
        text = text.replace("\0", "")
    if len(text) * 4 > max_bytes:
        data = text.encode("utf-8", "replace")
        if len(data) > max_bytes:
            return data[: max_bytes - 3].decode("utf-8", "ignore") + "…"
    return text


def _number(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdigit() else 0


def conditions(found: list[api_objects.Condition] | None) -> tuple[Condition, ...]:
    return tuple(
        Condition(c.type or "", c.status or "", clean(c.reason), clean(c.message), c.last_transition_time)
        for c in found or ()
    )


def _container(status: api_objects.ContainerStatus, *, init: bool, sidecar: bool = False) -> ContainerFacts:
    state = status.state
    kind: ContainerState = ""
    reason = message = None
    exit_code = signal = started_at = finished_at = None
    if state is not None and state.terminated is not None:
        ended = state.terminated
        kind, reason, message = "terminated", ended.reason, ended.message
        exit_code, signal, started_at, finished_at = ended.exit_code, ended.signal, ended.started_at, ended.finished_at
    elif state is not None and state.running is not None:
        kind, started_at = "running", state.running.started_at
    elif state is not None and state.waiting is not None:
        kind, reason, message = "waiting", state.waiting.reason, state.waiting.message
    return ContainerFacts(
        name=status.name or "",
        init=init,
        sidecar=sidecar,
        state=kind,
        reason=clean(reason),
        message=clean(message),
        exit_code=exit_code,
        signal=signal,
        restarts=status.restart_count or 0,
        started_at=started_at,
        finished_at=finished_at,
    )


def job_facts(job: api_objects.Job | api_objects.Bare, *, gone: bool = False) -> JobFacts:
    meta = job.metadata
    whole = job if isinstance(job, api_objects.Job) else api_objects.Job()
    status = whole.status or api_objects.JobStatus()
    return JobFacts(
        uid=meta.uid or "",
        resource_version=_number(meta.resource_version),
        created_at=meta.creation_timestamp,
        started_at=status.start_time,
        conditions=conditions(status.conditions),
        suspend=whole.spec is not None and whole.spec.suspend is True,
        deleting=meta.deletion_timestamp is not None,
        gone=gone,
    )


def pod_facts(pod: api_objects.Pod | api_objects.Bare, *, gone: bool = False) -> PodFacts:
    """Return the facts of a Pod. Only an owner that controls it and is a Job counts as its Job."""
    meta = pod.metadata
    whole = pod if isinstance(pod, api_objects.Pod) else api_objects.Pod()
    status = whole.status or api_objects.PodStatus()
    spec = whole.spec or api_objects.PodSpec()
    sidecars = {c.name for c in spec.init_containers or () if c.restart_policy == "Always"}
    containers = [_container(c, init=True, sidecar=c.name in sidecars) for c in status.init_container_statuses or ()]
    containers.extend(_container(c, init=False) for c in status.container_statuses or ())
    return PodFacts(
        uid=meta.uid or "",
        name=meta.name or "",
        job_uid=controlling_job(meta),
        resource_version=_number(meta.resource_version),
        created_at=meta.creation_timestamp,
        phase=status.phase or "",
        reason=clean(status.reason),
        message=clean(status.message),
        node=spec.node_name or "",
        conditions=conditions(status.conditions),
        containers=tuple(containers),
        deleting=meta.deletion_timestamp is not None,
        deletion_due_at=meta.deletion_timestamp,
        deletion_grace_seconds=meta.deletion_grace_period_seconds,
        gone=gone,
    )


def controlling_job(meta: api_objects.Metadata) -> str:
    """Return the uid of the Job that controls an object, or "" if none does."""
    owner = next((o for o in meta.owner_references or () if o.controller and o.kind == "Job"), None)
    return (owner.uid or "") if owner is not None else ""


def attempt_of_labels(labels: dict[str, str]) -> tuple[uuid.UUID, int]:
    """Return the job id (or `UNKNOWN_ID`) and the attempt (or 0) that labels name."""
    return _job_id(labels), _number(labels.get(names.ATTEMPT_LABEL))


def event_facts(event: api_objects.Event) -> EventFacts:
    """Return the facts of an Event. Older and newer writers fill different fields."""
    meta, about, series = event.metadata, event.involved_object or api_objects.ObjectReference(), event.series
    first_at = event.first_timestamp or event.event_time or meta.creation_timestamp
    last_at = event.last_timestamp or (series.last_observed_time if series is not None else None) or first_at
    return EventFacts(
        uid=meta.uid or "",
        resource_version=_number(meta.resource_version),
        object_kind=about.kind or "",
        object_name=about.name or "",
        object_uid=about.uid or "",
        reason=clean(event.reason, max_bytes=EVENT_MESSAGE_MAX_BYTES),
        message=clean(event.message, max_bytes=EVENT_MESSAGE_MAX_BYTES),
        type=event.type or "",
        count=(series.count if series is not None else None) or event.count or 1,
        first_at=first_at,
        last_at=last_at,
    )


def _job_id(labels: dict[str, str]) -> uuid.UUID:
    try:
        return uuid.UUID(labels.get(names.JOB_ID_LABEL, ""))
    except ValueError:
        return UNKNOWN_ID
