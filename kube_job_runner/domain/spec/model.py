"""The job spec: the typed allow-list of what a user may ask for.

There is no raw pod patch on purpose: every deny-list in this field has needed one security fix after another. A limit that
one field alone can break is in its type here (and so in the OpenAPI document); a rule across fields is in `speccheck.py`.
Sizes are bytes, times are seconds, quantities use the Kubernetes notation (`500m`, `1Gi`).
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from kube_job_runner.domain.spec.text_types import (
    AbsolutePath,
    Argument,
    ConfigKey,
    DnsLabel,
    DnsSubdomain,
    EnvName,
    LabelKey,
    LabelValue,
    Quantity,
    ReasonName,
    Signal,
    TaintKey,
)

ANNOTATIONS_MAX_BYTES = 256 * 1024  # TotalAnnotationSizeLimitB, apimachinery validation


class Secret(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One environment variable taken from a Kubernetes Secret. The value itself never enters our store."""

    env: EnvName
    name: DnsSubdomain
    key: ConfigKey


class Resources(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What the job asks of a node; each is both the request and the limit, but `cpu` is a request alone (no throttling)."""

    cpu: Quantity | None = None
    memory: Quantity | None = None
    ephemeral_storage: Quantity | None = None
    gpu: Annotated[int, Meta(ge=0, le=1024)] = 0


class Timeouts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """How long each phase may last, in seconds, counted per attempt: waiting to be created, starting, running."""

    queue_seconds: Annotated[int, Meta(ge=1, le=30 * 86_400)] = 86_400
    start_seconds: Annotated[int, Meta(ge=1, le=7 * 86_400)] = 900
    run_seconds: Annotated[int, Meta(ge=1, le=30 * 86_400)] = 86_400


class RetryRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What to do after a failure. It fits when each list that is given holds the failure's value; the first that fits decides.

    `reasons` are reason codes or category names (`OutOfMemory`, `out_of_memory`). `retry` tries again, charged to
    `attempts`, even where the fault would be permanent; `fail` ends the job; `grow_memory` retries with `factor` times
    the memory of the attempt that failed, up to `max_memory`, and ends the job when it had that already.
    """

    action: Literal["retry", "fail", "grow_memory"]
    reasons: Annotated[tuple[ReasonName, ...], Meta(max_length=64)] = ()
    exit_codes: Annotated[tuple[Annotated[int, Meta(ge=1, le=255)], ...], Meta(max_length=255)] = ()
    signals: Annotated[tuple[Signal, ...], Meta(max_length=32)] = ()
    factor: Annotated[float, Meta(gt=1, le=10)] = 2.0
    max_memory: Quantity | None = None


class Retry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """How often, and how long apart, a failed job is tried. The wait doubles (`backoff_factor`) up to its maximum.

    `attempts` is the user's budget, the first attempt included: failures of the program are charged to it. Failures of
    the infrastructure (evicted, preempted, node lost, registry down) are charged to `infrastructure_retries` instead.
    """

    attempts: Annotated[int, Meta(ge=1, le=20)] = 1
    infrastructure_retries: Annotated[int, Meta(ge=0, le=20)] = 5
    backoff_seconds: Annotated[float, Meta(ge=0, le=86_400)] = 10.0
    backoff_factor: Annotated[float, Meta(ge=1, le=10)] = 2.0
    max_backoff_seconds: Annotated[float, Meta(ge=0, le=86_400)] = 600.0
    avoid_failed_nodes: bool = True
    rules: Annotated[tuple[RetryRule, ...], Meta(max_length=32)] = ()


class Toleration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A Kubernetes toleration: the job may run on nodes with the matching taint."""

    key: TaintKey = ""
    operator: Literal["Equal", "Exists"] = "Equal"
    value: LabelValue = ""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    toleration_seconds: Annotated[int, Meta(ge=0, le=30 * 86_400)] | None = None


class EmptyDir(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Scratch space that lives as long as the pod; `memory: true` keeps it in RAM."""

    size_limit: Quantity | None = None
    memory: bool = False


class Volume(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A volume and where it is mounted. Exactly one source must be given."""

    name: DnsLabel
    mount_path: AbsolutePath
    read_only: bool = False
    sub_path: Annotated[str, Meta(max_length=4096)] = ""
    empty_dir: EmptyDir | None = None
    persistent_volume_claim: DnsSubdomain | None = None
    config_map: DnsSubdomain | None = None
    secret: DnsSubdomain | None = None


class JobSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What to run, where, and within which limits."""

    image: Annotated[str, Meta(min_length=1, max_length=1024)]
    name: DnsLabel | None = None
    command: Annotated[tuple[Argument, ...], Meta(max_length=1000)] = ()
    args: Annotated[tuple[Argument, ...], Meta(max_length=1000)] = ()
    env: Annotated[dict[EnvName, Argument], Meta(max_length=1000)] = {}
    secrets: Annotated[tuple[Secret, ...], Meta(max_length=200)] = ()
    working_dir: AbsolutePath | None = None
    resources: Resources = Resources()
    timeouts: Timeouts = Timeouts()
    retry: Retry = Retry()
    stop_grace_seconds: Annotated[int, Meta(ge=0, le=3600)] = 30
    labels: Annotated[dict[LabelKey, LabelValue], Meta(max_length=64)] = {}
    annotations: Annotated[dict[LabelKey, Annotated[str, Meta(max_length=65_536)]], Meta(max_length=64)] = {}
    queue: DnsLabel = "default"
    priority: Annotated[int, Meta(ge=-100, le=100)] = 0
    namespace: DnsLabel | None = None
    service_account: DnsSubdomain | None = None
    node_selector: Annotated[dict[LabelKey, LabelValue], Meta(max_length=64)] = {}
    tolerations: Annotated[tuple[Toleration, ...], Meta(max_length=64)] = ()
    volumes: Annotated[tuple[Volume, ...], Meta(max_length=64)] = ()


class Problem(msgspec.Struct, frozen=True):
    """One fault of a request: where (a JSON pointer, RFC 6901), and what with its limit and remedy."""

    pointer: str
    detail: str
