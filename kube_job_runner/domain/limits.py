"""Limits, graces and bounds: the numbers of an installation that the rules use, each with its default.

Every field is a setting: `KJR_` and its name, or the `name=` of the field where that is another. The documentation of the
settings is made from the texts below the fields.
"""

from typing import Annotated

import msgspec
from msgspec import Meta, field

_KEPT_SHARE = 5

Seconds = Annotated[float, Meta(ge=0)]


class Graces(msgspec.Struct, frozen=True, kw_only=True):
    """How long a signal of each class may last, in seconds. The fields are the classes (`failures.Grace`)."""

    image: Seconds = field(default=45.0, name="image_grace_seconds")
    """How long an image may be missing or refused before its job fails. A kubelet retries after about 13 and 36 s."""
    config: Seconds = field(default=60.0, name="config_grace_seconds")
    """How long a referenced Secret or ConfigMap may be missing before its job fails."""
    registry: Seconds = field(default=300.0, name="registry_grace_seconds")
    """How long a node may try to reach a registry. Then the job gets a new attempt, which is free, or fails."""
    runtime: Seconds = field(default=60.0, name="runtime_grace_seconds")
    """How long a container runtime may refuse a container before its job fails."""
    infrastructure: Seconds = field(default=300.0, name="infrastructure_grace_seconds")
    """How long a node, a webhook or the API server may keep a job from starting. Then it gets a new attempt, which is free."""
    volume: Seconds = field(default=600.0, name="volume_grace_seconds")
    """How long a volume may be missing or unmountable. Then the job fails, or gets a new attempt, which is free."""
    admission: Seconds = field(default=30.0, name="admission_grace_seconds")
    """How long the cluster may refuse the pod of a job, for a cause that can change, before the job fails."""
    scheduling: Seconds = field(default=900.0, name="scheduling_grace_seconds")
    """How long a job that no node matches waits before it fails. If nodes are only full, it waits up to its start timeout."""


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """How long to wait after the end of an attempt, in seconds: for its evidence, its log, its removal."""

    evidence_grace_seconds: Seconds = 30.0
    """How long a failed cluster job waits for the facts of its pod before it is recorded without an exit code."""
    cleanup_delay_seconds: Seconds = 300.0
    """How long a finished cluster job stays in the cluster, so that its log can be read there."""
    force_after_seconds: Seconds = 120.0
    """How long a pod may exist after its stop grace. Then it is removed by force, even if its node does not answer."""
    log_deadline_seconds: Annotated[float, Meta(gt=0)] = 600.0
    """How long collecting the log of an ended attempt is retried. Then it is recorded as lost, and its cluster job removed."""


class AdmissionLimits(msgspec.Struct, frozen=True, kw_only=True):
    """The most jobs in flight: `total` in the installation, `queues` by name, `per_queue` in every other (None: no limit)."""

    total: Annotated[int, Meta(ge=1)] = field(default=500, name="max_in_flight")
    """Maximum number of jobs in the cluster at once. The others wait in the database, in order of priority."""
    per_queue: Annotated[int, Meta(ge=1)] | None = field(default=None, name="queue_max_in_flight")
    """Maximum number of jobs in the cluster for each queue that `KJR_QUEUE_LIMITS` does not name. None: no limit per queue."""
    queues: dict[str, Annotated[int, Meta(ge=0)]] = field(default_factory=dict, name="queue_limits")
    """Limits of single queues, such as `etl=10,gpu=4`. 0 pauses a queue."""

    @property
    def kept(self) -> int:
        """How many of the last slots are kept for queues in which no job waits for room in the cluster."""
        return max(1, self.total // _KEPT_SHARE)

    def of_queue(self, queue: str) -> int | None:
        """Return the limit of a queue, or None when it has none of its own."""
        return self.queues.get(queue, self.per_queue)


DEFAULT_ADMISSION = AdmissionLimits()


class SpecLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What this installation allows beyond the types of a spec."""

    namespaces: tuple[str, ...] = ("default",)
    """Namespaces that jobs may run in, separated by commas. The first is the default."""
    spec_max_bytes: Annotated[int, Meta(ge=1024)] = 256 * 1024
    """Maximum size of an encoded job spec, in bytes."""

    @property
    def default_namespace(self) -> str:
        """The namespace of a job that names none."""
        return self.namespaces[0]
