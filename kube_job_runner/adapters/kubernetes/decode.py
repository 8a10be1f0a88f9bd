"""From the bytes of the API server to items of facts: objects, pages of a list, lines of a watch.

Only the fields that we read are decoded, and everything else is skipped. Nothing unknown is fatal: an unknown type of line
or object is skipped and counted, and an object whose status cannot be read still shows that it exists.
"""

import uuid
from typing import Any, Generic, TypeVar

import msgspec

from kube_job_runner.adapters.kubernetes import api_objects, object_facts
from kube_job_runner.adapters.kubernetes.answers import Status
from kube_job_runner.adapters.kubernetes.object_facts import UNKNOWN_ID
from kube_job_runner.domain import names
from kube_job_runner.domain.facts import Condition, EventFacts, JobFacts, PodFacts

Facts = TypeVar("Facts", JobFacts, PodFacts, EventFacts)

_node_decoder = msgspec.json.Decoder(api_objects.Node)


class Item(msgspec.Struct, Generic[Facts], frozen=True):
    """An object: its facts, and the attempt that its labels name (`UNKNOWN_ID` if they name none)."""

    facts: Facts
    job_id: uuid.UUID
    attempt: int
    labels: dict[str, str]
    annotations: dict[str, str]


class Line(msgspec.Struct, Generic[Facts], frozen=True):
    """One line of a watch. `item` is None if the line has no object; `status` is set for the type ERROR."""

    type: str
    item: Item[Facts] | None = None
    resource_version: str = ""
    status: Status | None = None


class Page(msgspec.Struct, Generic[Facts], frozen=True):
    """One page of a list. `token` asks for the next page; `unreadable` counts the objects that were left out."""

    items: list[Item[Facts]]
    resource_version: str
    token: str
    unreadable: int = 0


def node_conditions(body: bytes) -> tuple[Condition, ...]:
    """Return the conditions of a Node.

    Raises:
        msgspec.DecodeError: the body is not JSON, or not a Node.
    """
    status = _node_decoder.decode(body).status
    return object_facts.conditions(status.conditions if status is not None else None)


class Decoder(Generic[Facts]):
    """Decodes objects, pages and lines of one kind."""

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
        """Return one object, as far as it can be read.

        Raises:
            msgspec.DecodeError: the body is not JSON, or not an object with readable metadata and a uid.
        """
        try:
            return self._item(self._object.decode(body))
        except msgspec.ValidationError:
            return self._item(self._bare.decode(body))

    def page(self, body: bytes) -> Page[Facts]:
        """Return a page of a list. An object that cannot be read is left out and counted.

        Raises:
            msgspec.DecodeError: the body is not JSON, or not a list.
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
            msgspec.DecodeError: the line is not JSON (cut off, for example), or nothing of it can be read.
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
        job_id, attempt = object_facts.attempt_of_labels(labels)
        return Item(
            facts=self._facts(found, gone=gone),
            job_id=job_id,
            attempt=attempt,
            labels=labels,
            annotations=meta.annotations or {},
        )


class EventDecoder(Decoder[EventFacts]):
    """Decodes Events. The attempt is read from the name of the object that an Event is about.

    Events about objects of others, and deleted ones (an Event just expires), get no facts.
    """

    def __init__(self) -> None:
        super().__init__(api_objects.Event, object_facts.event_facts)

    def _item(self, found: Any, *, gone: bool = False) -> Item[EventFacts]:
        attempt = None if gone or not isinstance(found, api_objects.Event) else _attempt_of(found.involved_object)
        if attempt is None:
            return Item(EventFacts(uid=found.metadata.uid or ""), UNKNOWN_ID, 0, {}, {})
        return Item(object_facts.event_facts(found), *attempt, {}, {})


def _attempt_of(about: api_objects.ObjectReference | None) -> tuple[uuid.UUID, int] | None:
    if about is None or not about.name:
        return None
    if about.kind == "Pod":
        return names.attempt_of_pod(about.name)
    return names.attempt_of_job(about.name) if about.kind == "Job" else None


JOBS: Decoder[JobFacts] = Decoder(api_objects.Job, object_facts.job_facts)
PODS: Decoder[PodFacts] = Decoder(api_objects.Pod, object_facts.pod_facts)
EVENTS = EventDecoder()
