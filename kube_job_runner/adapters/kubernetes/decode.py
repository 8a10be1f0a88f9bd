"""From what the API server sends to facts: only the fields that we read are decoded, everything else is skipped.

Robust on purpose: a missing or null field is its default, an unknown type of line or object is skipped and counted,
and an object whose status has a shape that we do not know still tells that it is there.
"""

from __future__ import annotations

import uuid
from typing import Any, Generic, TypeVar

import msgspec

from kube_job_runner.adapters.kubernetes import api_objects
from kube_job_runner.adapters.kubernetes.answers import Status
from kube_job_runner.domain import names
from kube_job_runner.domain.facts import Condition, ContainerFacts, ContainerState, EventFacts, JobFacts, PodFacts

MESSAGE_MAX_BYTES = 4096
EVENT_MESSAGE_MAX_BYTES = 1024  # as much as events.k8s.io/v1 takes; core/v1 sets no limit
UNKNOWN_ID = uuid.UUID(int=0)
_node_decoder = msgspec.json.Decoder(api_objects.Node)


Facts = TypeVar("Facts", JobFacts, PodFacts, EventFacts)


class Item(msgspec.Struct, Generic[Facts], frozen=True):
    """An object seen: its facts, and to which attempt its labels say that it belongs (`UNKNOWN_ID`: they do not)."""

    facts: Facts
    job_id: uuid.UUID
    attempt: int
    labels: dict[str, str]
    annotations: dict[str, str]


class Line(msgspec.Struct, Generic[Facts], frozen=True):
    """One line of a watch. `item` is None where the line carries no object of ours; `status` is set for ERROR."""

    type: str
    item: Item[Facts] | None = None
    resource_version: str = ""
    status: Status | None = None


class Page(msgspec.Struct, Generic[Facts], frozen=True):
    """One page of a list; `token` asks for the next one, `unreadable` counts objects that were left out."""

    items: list[Item[Facts]]
    resource_version: str
    token: str
    unreadable: int = 0


def clean(text: str | None, *, max_bytes: int = MESSAGE_MAX_BYTES) -> str:
    """Return a message fit for the store: without NUL, at most `max_bytes` of UTF-8."""
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


def _conditions(conditions: list[api_objects.Condition] | None) -> tuple[Condition, ...]:
    return tuple(
        Condition(c.type or "", c.status or "", clean(c.reason), clean(c.message), c.last_transition_time)
        for c in conditions or ()
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
    """Return the facts of a Job."""
    meta = job.metadata
    status = (job.status if isinstance(job, api_objects.Job) else None) or api_objects.JobStatus()
    return JobFacts(
        uid=meta.uid or "",
        resource_version=_number(meta.resource_version),
        created_at=meta.creation_timestamp,
        started_at=status.start_time,
        conditions=_conditions(status.conditions),
        deleting=meta.deletion_timestamp is not None,
        gone=gone,
    )


def pod_facts(pod: api_objects.Pod | api_objects.Bare, *, gone: bool = False) -> PodFacts:
    """Return the facts of a Pod; only a controlling owner of kind Job counts as its Job."""
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
        conditions=_conditions(status.conditions),
        containers=tuple(containers),
        deleting=meta.deletion_timestamp is not None,
        deletion_due_at=meta.deletion_timestamp,
        deletion_grace_seconds=meta.deletion_grace_period_seconds,
        gone=gone,
    )


def controlling_job(meta: api_objects.Metadata) -> str:
    """Return the uid of the Job that controls an object, "" when none does."""
    owner = next((o for o in meta.owner_references or () if o.controller and o.kind == "Job"), None)
    return (owner.uid or "") if owner is not None else ""


def attempt_of_labels(labels: dict[str, str]) -> tuple[uuid.UUID, int]:
    """Return the job id (`UNKNOWN_ID`: none) and the attempt (0: none) that labels name."""
    return _job_id(labels), _number(labels.get(names.ATTEMPT_LABEL))


def event_facts(event: api_objects.Event) -> EventFacts:
    """Return the facts of an Event, whichever generation of fields its writer filled."""
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


def node_conditions(body: bytes) -> tuple[Condition, ...]:
    """Return the conditions of a Node.

    Raises:
        msgspec.DecodeError: it is not JSON, or not a Node.
    """
    status = _node_decoder.decode(body).status
    return _conditions(status.conditions if status is not None else None)


def _job_id(labels: dict[str, str]) -> uuid.UUID:
    try:
        return uuid.UUID(labels.get(names.JOB_ID_LABEL, ""))
    except ValueError:
        return UNKNOWN_ID


class Decoder(Generic[Facts]):
    """Reads objects, list pages and watch lines of one kind."""

    def __init__(self, object_type: Any, to_facts: Any) -> None:
        line = msgspec.defstruct("_Line", [("type", str, ""), ("object", object_type | None, None)])
        page = msgspec.defstruct(
            "_Page", [("metadata", api_objects.Metadata), ("items", list[object_type] | None, None)]
        )
        raw_line = msgspec.defstruct("_RawLine", [("type", str, ""), ("object", msgspec.Raw, msgspec.Raw(b"null"))])
        raw_page = msgspec.defstruct(
            "_RawPage", [("metadata", api_objects.Metadata), ("items", list[msgspec.Raw] | None, None)]
        )
        self._facts = to_facts
        self._object = msgspec.json.Decoder(object_type)
        self._bare = msgspec.json.Decoder(api_objects.Bare)
        self._status = msgspec.json.Decoder(Status)
        self._line: msgspec.json.Decoder[Any] = msgspec.json.Decoder(line)
        self._page: msgspec.json.Decoder[Any] = msgspec.json.Decoder(page)
        self._raw_line: msgspec.json.Decoder[Any] = msgspec.json.Decoder(raw_line)
        self._raw_page: msgspec.json.Decoder[Any] = msgspec.json.Decoder(raw_page)

    def object(self, body: bytes | msgspec.Raw) -> Item[Facts]:
        """Return one object, as much of it as can be read.

        Raises:
            msgspec.DecodeError: it is not JSON, or not an object with readable metadata and a uid.
        """
        try:
            return self._item(self._object.decode(body))
        except msgspec.ValidationError:
            return self._item(self._bare.decode(body))

    def page(self, body: bytes) -> Page[Facts]:
        """Return a page of a list; an object that cannot be read is left out, and counted, not the whole page.

        Raises:
            msgspec.DecodeError: it is not JSON, or not a list.
        """
        try:
            page = self._page.decode(body)
            items = [self._item(found) for found in page.items or ()]
            return Page(items, page.metadata.resource_version or "", page.metadata.continue_ or "")
        except msgspec.ValidationError:
            return self._mixed_page(body)

    def _mixed_page(self, body: bytes) -> Page[Facts]:
        page = self._raw_page.decode(body)
        items: list[Item[Facts]] = []
        unreadable = 0
        for raw in page.items or ():
            try:
                items.append(self.object(raw))
            except msgspec.DecodeError:
                unreadable += 1
        return Page(items, page.metadata.resource_version or "", page.metadata.continue_ or "", unreadable)

    def line(self, line: bytes) -> Line[Facts]:
        """Return one line of a watch.

        Raises:
            msgspec.DecodeError: it is not JSON (cut off, say), or holds nothing that can be read.
        """
        try:
            found = self._line.decode(line)
            if found.object is None:
                return Line(found.type)
            version = found.object.metadata.resource_version or ""
            if found.type in ("ADDED", "MODIFIED", "DELETED"):
                return Line(found.type, self._item(found.object, gone=found.type == "DELETED"), version)
            if found.type == "BOOKMARK":
                return Line(found.type, None, version)
        except msgspec.ValidationError:
            pass
        return self._other_line(line)

    def _other_line(self, line: bytes) -> Line[Facts]:
        found = self._raw_line.decode(line)
        if found.type == "ERROR":
            return Line(found.type, status=self._status.decode(found.object))
        bare = self._bare.decode(found.object)
        version = bare.metadata.resource_version or ""
        if found.type in ("ADDED", "MODIFIED", "DELETED"):
            return Line(found.type, self._item(bare, gone=found.type == "DELETED"), version)
        return Line(found.type, None, version)

    def _item(self, found: Any, *, gone: bool = False) -> Item[Facts]:
        meta: api_objects.Metadata = found.metadata
        if not meta.uid:
            raise msgspec.ValidationError("the object has no uid")
        labels = meta.labels or {}
        job_id, attempt = attempt_of_labels(labels)
        return Item(
            facts=self._facts(found, gone=gone),
            job_id=job_id,
            attempt=attempt,
            labels=labels,
            annotations=meta.annotations or {},
        )


class EventDecoder(Decoder[EventFacts]):
    """Reads Events, and relates each to an attempt by the name of the object that it is about.

    Those of others, and those that are gone (an Event just expires), are skipped before anything is made of them.
    """

    def __init__(self) -> None:
        super().__init__(api_objects.Event, event_facts)

    def _item(self, found: Any, *, gone: bool = False) -> Item[EventFacts]:
        attempt = None if gone or not isinstance(found, api_objects.Event) else _attempt_of(found.involved_object)
        if attempt is None:
            return Item(EventFacts(uid=found.metadata.uid or ""), UNKNOWN_ID, 0, {}, {})
        return Item(event_facts(found), *attempt, {}, {})


def _attempt_of(about: api_objects.ObjectReference | None) -> tuple[uuid.UUID, int] | None:
    if about is None or not about.name:
        return None
    if about.kind == "Pod":
        return names.attempt_of_pod(about.name)
    return names.attempt_of_job(about.name) if about.kind == "Job" else None


JOBS: Decoder[JobFacts] = Decoder(api_objects.Job, job_facts)
PODS: Decoder[PodFacts] = Decoder(api_objects.Pod, pod_facts)
EVENTS = EventDecoder()
