"""Types of the spec's fields: names, labels, quantities and paths, as Kubernetes allows them; and how a field is described.

Each type holds its limits, and its pattern in words (`extra["hint"]`), which a refusal says in place of the pattern.
"""

from __future__ import annotations

from typing import Annotated, Any

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
        r"^[0-9]{1,12}(\.[0-9]{1,9})?(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?",
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
