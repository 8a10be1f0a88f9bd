"""The job spec: the typed allow-list of what a user may ask for.

There is no raw pod patch on purpose: every deny-list in this field has needed one security fix after another. A limit that
one field alone can break is in its type. A rule across fields is in `check.py`. Each field holds its description and an
example. The API document and docs/reference/job-spec.md are generated from them.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from kube_job_runner.domain.spec.field_types import (
    STRING_MAX_BYTES,
    AbsolutePath,
    Argument,
    DnsLabel,
    DnsSubdomain,
    EnvName,
    LabelKey,
    LabelValue,
    Quantity,
    ReasonName,
    Secret,
    Signal,
    Toleration,
    Volume,
    about,
)

ANNOTATIONS_MAX_BYTES = 256 * 1024  # TotalAnnotationSizeLimitB, apimachinery validation
_DAY_SECONDS = 86_400


class Resources(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What the container may use of its node. Quantities are written as in Kubernetes: `500m`, `2`, `64Mi`, `1.5Gi`."""

    cpu: Annotated[
        Quantity | None,
        about("CPU that is reserved. It is a request without a limit, so a job may use idle CPU.", "500m"),
    ] = None
    memory: Annotated[
        Quantity | None,
        about("Memory, as request and limit. A container that uses more is killed (`OutOfMemory`).", "1Gi"),
    ] = None
    ephemeral_storage: Annotated[
        Quantity | None,
        about("Disk of the node for logs, written files and `empty_dir` volumes, as request and limit.", "2Gi"),
    ] = None
    gpu: Annotated[int, about("Whole NVIDIA GPUs (`nvidia.com/gpu`), as request and limit.", 1, ge=0, le=1024)] = 0


class Timeouts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """How long each phase of an attempt may last, in seconds."""

    queue_seconds: Annotated[
        int,
        about(
            "From the time at which an attempt is due until it is created and has room in the cluster. Then it fails"
            " (`QueueTimeout`).",
            3600,
            ge=1,
            le=30 * _DAY_SECONDS,
        ),
    ] = _DAY_SECONDS
    start_seconds: Annotated[
        int,
        about(
            "From the creation of an attempt until its container runs, without the time that it waits for room in the cluster"
            " or is suspended. Then it fails (`StartTimeout`).",
            600,
            ge=1,
            le=7 * _DAY_SECONDS,
        ),
    ] = 900
    run_seconds: Annotated[
        int,
        about(
            "From the start of the container until its end. Then it is stopped, and the attempt fails (`RunTimeout`).",
            7200,
            ge=1,
            le=30 * _DAY_SECONDS,
        ),
    ] = _DAY_SECONDS


class RetryRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What to do after some failures. The first rule that matches decides; without one the cause of the failure decides.

    A rule matches when every list that it gives holds the value of the failure. It must give at least one list.
    """

    action: Annotated[
        Literal["retry", "fail", "grow_memory"],
        about(
            "`retry`: run again, charged to `attempts`, even after a permanent failure. `fail`: end the job. `grow_memory`:"
            " run again with more memory; it needs `resources.memory` and `max_memory`.",
            "grow_memory",
        ),
    ]
    reasons: Annotated[
        tuple[ReasonName, ...],
        about(
            "Reason codes (`OutOfMemory`) or categories (`out_of_memory`). `kjr explain` lists them.",
            ["OutOfMemory"],
            max_length=64,
        ),
    ] = ()
    exit_codes: Annotated[
        tuple[Annotated[int, Meta(ge=1, le=255)], ...],
        about("Exit codes of the container, 1 to 255.", [2, 64], max_length=255),
    ] = ()
    signals: Annotated[
        tuple[Signal, ...],
        about("Names of the signals that killed the container.", ["SIGSEGV"], max_length=32),
    ] = ()
    factor: Annotated[
        float,
        about("For `grow_memory`: the memory of the failed attempt is multiplied by this number.", 1.5, gt=1, le=10),
    ] = 2.0
    max_memory: Annotated[
        Quantity | None,
        about(
            "For `grow_memory`: the most memory that an attempt gets. If the failed attempt had that, the job fails.",
            "8Gi",
        ),
    ] = None


class Retry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """How often a failed job runs again, and how long it waits in between.

    Two budgets pay for retries. `attempts` pays for failures of the program. `infrastructure_retries` pays for failures of
    the infrastructure: evicted, preempted, node lost, registry down. A permanent failure ends the job.
    """

    attempts: Annotated[int, about("How often the program may run, the first time included.", 3, ge=1, le=20)] = 1
    infrastructure_retries: Annotated[
        int, about("How often the job runs again after failures of the infrastructure.", 5, ge=0, le=20)
    ] = 5
    backoff_seconds: Annotated[
        float,
        about(
            "The wait before the first retry of a budget. Every wait is up to 10 % shorter or longer.",
            30,
            ge=0,
            le=_DAY_SECONDS,
        ),
    ] = 10.0
    backoff_factor: Annotated[float, about("Each further wait is longer by this factor.", 2, ge=1, le=10)] = 2.0
    max_backoff_seconds: Annotated[float, about("The longest wait.", 900, ge=0, le=_DAY_SECONDS)] = 600.0
    avoid_failed_nodes: Annotated[
        bool,
        about(
            "Prefer other nodes than those where an attempt failed for a reason of the infrastructure.",
            False,
        ),
    ] = True
    rules: Annotated[
        tuple[RetryRule, ...],
        about(
            "What to do after some failures. The first rule that matches decides.",
            [{"action": "grow_memory", "reasons": ["OutOfMemory"], "max_memory": "8Gi"}],
            max_length=32,
        ),
    ] = ()


class JobSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What to run, where, and within which limits."""

    image: Annotated[
        str,
        about(
            "Image reference: `[registry[:port]/]repository[:tag][@digest]`.",
            "registry.example.com/team/etl:1.4.2",
            min_length=1,
            max_length=1024,
        ),
    ]
    name: Annotated[
        DnsLabel | None,
        about("Name for people; jobs may share one. Default: the last part of the image's repository.", "etl-nightly"),
    ] = None
    command: Annotated[
        tuple[Argument, ...],
        about(
            "The program and its first arguments, in place of the image's entry point. `$(NAME)` is not expanded.",
            ["python", "-m", "etl"],
            max_length=1000,
        ),
    ] = ()
    args: Annotated[
        tuple[Argument, ...],
        about(
            "Arguments, in place of the image's own (`CMD`). `$(NAME)` is not expanded.",
            ["--day", "2026-01-15"],
            max_length=1000,
        ),
    ] = ()
    env: Annotated[
        dict[EnvName, Argument],
        about(
            f"Environment variables by name. `$(NAME)` is not expanded. `NAME=VALUE` has at most {STRING_MAX_BYTES:,} bytes,"
            " the limit of Linux.",
            {"STAGE": "prod"},
            max_length=1000,
        ),
    ] = {}
    secrets: Annotated[
        tuple[Secret, ...],
        about(
            "Environment variables from Kubernetes Secrets.",
            [{"env": "DB_PASSWORD", "name": "etl-database", "key": "password"}],
            max_length=200,
        ),
    ] = ()
    working_dir: Annotated[AbsolutePath | None, about("Working directory. Default: that of the image.", "/app")] = None
    resources: Annotated[
        Resources, about("What the container may use of its node.", {"cpu": "500m", "memory": "1Gi"})
    ] = Resources()
    timeouts: Annotated[Timeouts, about("How long each phase may last.", {"run_seconds": 7200})] = Timeouts()
    retry: Annotated[Retry, about("How often a failed job runs again.", {"attempts": 3})] = Retry()
    stop_grace_seconds: Annotated[
        int,
        about(
            "Time between SIGTERM and SIGKILL when the job is cancelled or runs too long; 0 kills at once.",
            60,
            ge=0,
            le=3600,
        ),
    ] = 30
    labels: Annotated[
        dict[LabelKey, LabelValue],
        about(
            "Labels of the job, its Kubernetes Job and its pod. Lists can be filtered by them. Domains of Kubernetes and"
            " `kube-job-runner.io` are reserved.",
            {"team": "data"},
            max_length=64,
        ),
    ] = {}
    annotations: Annotated[
        dict[LabelKey, Annotated[str, Meta(max_length=65_536)]],
        about(
            "Annotations of the Kubernetes Job and its pod. The same domains are reserved. Names and values together have at"
            f" most {ANNOTATIONS_MAX_BYTES:,} bytes.",
            {"example.com/ticket": "DATA-1234"},
            max_length=64,
        ),
    ] = {}
    queue: Annotated[
        DnsLabel, about("Queue that the job waits in. A queue exists as soon as a job names it.", "etl")
    ] = "default"
    priority: Annotated[
        int,
        about("Jobs with a higher priority are created first. Running jobs are not preempted.", 10, ge=-100, le=100),
    ] = 0
    namespace: Annotated[
        DnsLabel | None,
        about("Kubernetes namespace; one of `KJR_NAMESPACES`. Default: the first of them.", "default"),
    ] = None
    service_account: Annotated[
        DnsSubdomain | None,
        about(
            "ServiceAccount of the pod, with its token mounted. Without it the pod has no token of the Kubernetes API.",
            "etl-runner",
        ),
    ] = None
    node_selector: Annotated[
        dict[LabelKey, LabelValue],
        about("Labels that a node must have to run the job.", {"kubernetes.io/arch": "amd64"}, max_length=64),
    ] = {}
    tolerations: Annotated[
        tuple[Toleration, ...],
        about(
            "Taints of nodes that the job tolerates.",
            [{"key": "dedicated", "value": "batch", "effect": "NoSchedule"}],
            max_length=64,
        ),
    ] = ()
    volumes: Annotated[
        tuple[Volume, ...],
        about(
            "Volumes of the pod.",
            [
                {"name": "scratch", "mount_path": "/scratch", "empty_dir": {"size_limit": "1Gi"}},
                {"name": "data", "mount_path": "/data", "read_only": True, "persistent_volume_claim": "etl-data"},
            ],
            max_length=64,
        ),
    ] = ()
