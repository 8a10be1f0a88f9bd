"""Parts of the pod in a job spec: secrets, tolerations and volumes, each a small subset of the Kubernetes field."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from kube_job_runner.domain.spec.field_types import (
    AbsolutePath,
    ConfigKey,
    DnsLabel,
    DnsSubdomain,
    EnvName,
    LabelValue,
    Quantity,
    TaintKey,
    about,
)


class Secret(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An environment variable from a Kubernetes Secret of the job's namespace. Its value is never stored here."""

    env: Annotated[EnvName, about("Name of the variable. `env` must not set it too.", "DB_PASSWORD")]
    name: Annotated[DnsSubdomain, about("Name of the Secret.", "etl-database")]
    key: Annotated[ConfigKey, about("Key in the Secret that holds the value.", "password")]


class Toleration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A Kubernetes toleration: the job may run on nodes with the matching taint."""

    key: Annotated[
        TaintKey, about("Key of the taint. Empty matches every key, and needs the operator `Exists`.", "dedicated")
    ] = ""
    operator: Annotated[
        Literal["Equal", "Exists"],
        about("`Equal`: the taint has this `value`. `Exists`: any value; `value` must be empty.", "Equal"),
    ] = "Equal"
    value: Annotated[LabelValue, about("Value of the taint.", "batch")] = ""
    effect: Annotated[
        Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None,
        about("Effect of the taint. Without it every effect matches.", "NoExecute"),
    ] = None
    toleration_seconds: Annotated[
        Annotated[int, Meta(ge=0, le=30 * 86_400)] | None,
        about(
            "How long the pod stays on a node that gets the taint. Without it the pod stays. It needs the effect `NoExecute`.",
            300,
        ),
    ] = None


class EmptyDir(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Scratch space that lives as long as the pod."""

    size_limit: Annotated[Quantity | None, about("The pod is evicted when it holds more.", "1Gi")] = None
    memory: Annotated[bool, about("Keep it in memory. It then counts as memory of the container.", True)] = False


class Volume(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A volume, and where it is mounted. It has exactly one source.

    The sources are `empty_dir`, `persistent_volume_claim`, `config_map` and `secret`.
    """

    name: Annotated[DnsLabel, about("Name of the volume. No other volume of the job has it.", "scratch")]
    mount_path: Annotated[AbsolutePath, about("Where the container sees it. No other volume is there.", "/scratch")]
    read_only: Annotated[bool, about("Mount it without the right to write.", True)] = False
    sub_path: Annotated[
        str,
        about("Mount only this path in the volume. It is relative and has no `..`.", "2026/january", max_length=4096),
    ] = ""
    empty_dir: Annotated[EmptyDir | None, about("Source: scratch space.", {"size_limit": "1Gi"})] = None
    persistent_volume_claim: Annotated[
        DnsSubdomain | None, about("Source: a PersistentVolumeClaim of the job's namespace, by name.", "etl-data")
    ] = None
    config_map: Annotated[
        DnsSubdomain | None, about("Source: a ConfigMap of the job's namespace, by name.", "etl-config")
    ] = None
    secret: Annotated[
        DnsSubdomain | None, about("Source: a Secret of the job's namespace, by name.", "etl-certificates")
    ] = None
