"""Types of the spec's fields: names, labels, quantities and paths, secrets, tolerations and volumes; how a field is described.

Each type allows what Kubernetes allows for that field, or less. A type holds its limits, and its pattern in words
(`extra["hint"]`), which a refusal says in place of the pattern.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

STRING_MAX_BYTES = 131_071  # MAX_ARG_STRLEN of Linux (32 pages) less its terminating NUL

# `$` alone would let a trailing newline pass in Python; the look-ahead means the same in ECMA 262 and closes that hole.
_END = r"$(?!\n)"
_SUBDOMAIN = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
_QUALIFIED_NAME = rf"^({_SUBDOMAIN}/)?[A-Za-z0-9]([-A-Za-z0-9_.]{{0,61}}[A-Za-z0-9])?"
_SIGNALS = (
    "HUP|INT|QUIT|ILL|TRAP|ABRT|BUS|FPE|KILL|USR1|SEGV|USR2|PIPE|ALRM|TERM|STKFLT|CHLD|CONT|STOP|TSTP|TTIN|TTOU|URG|"
    "XCPU|XFSZ|VTALRM|PROF|WINCH|IO|PWR|SYS"
)


def about(text: str, example: Any, **limits: Any) -> Meta:
    """Return the description of a field, an example of its value, and its limits."""
    return Meta(description=text, examples=[example], **limits)


def _text(pattern: str, words: str = "", *, min_length: int | None = 1, max_length: int | None = None) -> Meta:
    return Meta(
        pattern=pattern + _END, min_length=min_length, max_length=max_length, extra={"hint": words} if words else None
    )


DnsLabel = Annotated[
    str,
    _text(
        r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?",
        "must be lower-case letters, digits and '-', beginning and ending with a letter or digit (RFC 1123 label)",
        max_length=63,
    ),
]
DnsSubdomain = Annotated[
    str,
    _text(
        f"^{_SUBDOMAIN}",
        "must be lower-case letters, digits, '-' and '.', as in a host name (RFC 1123)",
        max_length=253,
    ),
]
LabelKey = Annotated[
    str,
    _text(
        _QUALIFIED_NAME,
        "must be letters, digits, '-', '_' and '.', at most 63, beginning and ending with a letter or digit,"
        " after an optional prefix such as example.com/",
        max_length=317,
    ),
]
LabelValue = Annotated[
    str,
    _text(
        r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?",
        "must be empty, or letters, digits, '-', '_' and '.', beginning and ending with a letter or digit",
        min_length=None,
        max_length=63,
    ),
]
Quantity = Annotated[
    str,
    _text(
        r"^\+?([0-9]{1,12}(\.[0-9]{0,9})?|\.[0-9]{1,9})([eE][+-]?[0-9]{1,2}|n|u|m|k|[MGTPE]|[KMGTPE]i)?",
        "must be a Kubernetes quantity, such as 500m, 2, 64Mi or 1.5Gi",
        min_length=None,
        max_length=24,
    ),
]
EnvName = Annotated[
    str,
    _text(
        r"^[A-Za-z_][A-Za-z0-9_.-]*",
        "must be letters, digits, '_', '-' and '.', not beginning with a digit",
        max_length=255,
    ),
]
ConfigKey = Annotated[str, _text(r"^[-._a-zA-Z0-9]+", "must be letters, digits, '-', '_' and '.'", max_length=253)]
AbsolutePath = Annotated[
    str, _text(r"^/[^\n:]*", "must be an absolute path without ':' and line feeds", max_length=4096)
]
Argument = Annotated[str, Meta(max_length=STRING_MAX_BYTES)]
Signal = Annotated[str, _text(f"^SIG({_SIGNALS})", "must be the name of a signal, such as SIGTERM", min_length=None)]
ReasonName = Annotated[str, _text(r"^[A-Za-z][A-Za-z0-9_-]*", "must be a reason code or a category", max_length=63)]
TaintKey = Annotated[str, _text(r"^$|" + _QUALIFIED_NAME, min_length=None, max_length=317)]


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
        about("Effect of the taint. Default: every effect matches.", "NoExecute"),
    ] = None
    toleration_seconds: Annotated[
        Annotated[int, Meta(ge=0, le=30 * 86_400)] | None,
        about(
            "How long the pod stays on a node that gets the taint. Default: without end. It needs the effect `NoExecute`.",
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

    name: Annotated[DnsLabel, about("Name of the volume, unique in the job.", "scratch")]
    mount_path: Annotated[AbsolutePath, about("Where the container sees it. Each volume has its own path.", "/scratch")]
    read_only: Annotated[bool, about("Mount it read-only.", True)] = False
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
