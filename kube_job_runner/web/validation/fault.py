"""Faults: what is wrong with a document that somebody sent, and where."""

from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

FAULTS_MAX = 100  # of one answer: a request with 100,000 bad fields must not cause a larger answer than itself


class Fault(msgspec.Struct, frozen=True, omit_defaults=True, rename={"source": "in"}):
    """One fault of a request: a JSON pointer (RFC 6901) into its body, query, path or headers, and what is wrong there."""

    pointer: Annotated[str, Meta(description="JSON pointer (RFC 6901) to the place.")]
    detail: Annotated[str, Meta(description="What is wrong there, with the limit or the remedy.")]
    source: Annotated[
        str,
        Meta(
            description="What the pointer points into: `body`, `query`, `path`, `header`, or `spec` for the spec of a rerun."
        ),
    ] = "body"


class Malformed(ValueError):
    """The document is not JSON, or it is ambiguous."""

    def __init__(self, detail: str, faults: Sequence[Fault] = ()) -> None:
        super().__init__(detail)
        self.faults = faults


class TooComplex(ValueError):
    """The document holds more values than anybody needs. It was not decoded."""


class Invalid(ValueError):
    """The document can be read, but breaks rules. The message summarises all faults."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__(summary(faults))
        self.faults = faults


def summary(faults: Sequence[Fault]) -> str:
    """Return one sentence about all faults of a request."""
    first = faults[0]
    text = f"{first.pointer or 'the body'}: {first.detail}"
    return text if len(faults) == 1 else f"{len(faults)} faults; the first: {text}"
