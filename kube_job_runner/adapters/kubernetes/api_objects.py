"""The objects of the Kubernetes API, as far as we read them: each field becomes a fact, and may be missing or null.

Source: batch/v1 and core/v1 of k8s.io/api, meta/v1 of k8s.io/apimachinery.
"""

from datetime import datetime

import msgspec


class Owner(msgspec.Struct, gc=False):
    kind: str | None = None
    uid: str | None = None
    controller: bool | None = None


class Metadata(msgspec.Struct, rename="camel"):
    """ObjectMeta and ListMeta: the fields of both that we read."""

    name: str | None = None
    namespace: str | None = None
    uid: str | None = None
    resource_version: str | None = None
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None
    deletion_grace_period_seconds: int | None = None
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    owner_references: list[Owner] | None = None
    continue_: str | None = msgspec.field(default=None, name="continue")


class Condition(msgspec.Struct, rename="camel", gc=False):
    type: str | None = None
    status: str | None = None
    reason: str | None = None
    message: str | None = None
    last_transition_time: datetime | None = None


class Waiting(msgspec.Struct, gc=False):
    reason: str | None = None
    message: str | None = None


class Running(msgspec.Struct, rename="camel", gc=False):
    started_at: datetime | None = None


class Terminated(msgspec.Struct, rename="camel", gc=False):
    exit_code: int | None = None
    signal: int | None = None
    reason: str | None = None
    message: str | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None


class State(msgspec.Struct):
    """The state of a container: one of the three."""

    waiting: Waiting | None = None
    running: Running | None = None
    terminated: Terminated | None = None


class ContainerStatus(msgspec.Struct, rename="camel"):
    name: str | None = None
    state: State | None = None
    restart_count: int | None = None


class JobStatus(msgspec.Struct, rename="camel"):
    start_time: datetime | None = None
    conditions: list[Condition] | None = None


class PodStatus(msgspec.Struct, rename="camel"):
    phase: str | None = None
    reason: str | None = None
    message: str | None = None
    conditions: list[Condition] | None = None
    init_container_statuses: list[ContainerStatus] | None = None
    container_statuses: list[ContainerStatus] | None = None


class InitContainer(msgspec.Struct, rename="camel", gc=False):
    """An init container of a PodSpec: whether it is a sidecar."""

    name: str | None = None
    restart_policy: str | None = None


class PodSpec(msgspec.Struct, rename="camel"):
    """PodSpec (core/v1): its node, and which of its init containers are sidecars."""

    node_name: str | None = None
    init_containers: list[InitContainer] | None = None


class JobSpec(msgspec.Struct, gc=False):
    """JobSpec (batch/v1): whether it is suspended."""

    suspend: bool | None = None


class Job(msgspec.Struct):
    metadata: Metadata = msgspec.field(default_factory=Metadata)
    spec: JobSpec | None = None
    status: JobStatus | None = None


class Pod(msgspec.Struct):
    metadata: Metadata = msgspec.field(default_factory=Metadata)
    spec: PodSpec | None = None
    status: PodStatus | None = None


class ObjectReference(msgspec.Struct, gc=False):
    kind: str | None = None
    name: str | None = None
    uid: str | None = None


class EventSeries(msgspec.Struct, rename="camel", gc=False):
    """EventSeries (core/v1): the counts of an Event that repeats."""

    count: int | None = None
    last_observed_time: datetime | None = None


class Event(msgspec.Struct, rename="camel"):
    """An Event (core/v1). Newer writers set `eventTime` and `series` instead of the timestamps and the count."""

    metadata: Metadata = msgspec.field(default_factory=Metadata)
    involved_object: ObjectReference | None = None
    reason: str | None = None
    message: str | None = None
    type: str | None = None
    count: int | None = None
    first_timestamp: datetime | None = None
    last_timestamp: datetime | None = None
    event_time: datetime | None = None
    series: EventSeries | None = None


class NodeStatus(msgspec.Struct):
    conditions: list[Condition] | None = None


class Node(msgspec.Struct):
    status: NodeStatus | None = None


class Bare(msgspec.Struct):
    """Any object whose status cannot be read."""

    metadata: Metadata = msgspec.field(default_factory=Metadata)
