"""Operations: one declaration for each method and path. Serving and the API document are both made from it."""

import dataclasses
import typing
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal

from kube_job_runner.web.kit.handling import Call, Document, Nothing, Reply
from kube_job_runner.web.kit.problems import ProblemType
from kube_job_runner.web.kit.queries import QueryDecoder
from kube_job_runner.web.validation.body import BodyDecoder

Handler = Callable[[Call[Any, Any, Any]], Awaitable[Reply[Any]]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Header:
    """A header of requests or answers, for the API document. `schema` is JSON Schema."""

    name: str
    description: str
    schema: Mapping[str, Any] = dataclasses.field(default_factory=lambda: {"type": "string"})


@dataclasses.dataclass(frozen=True)
class Operation:
    """A handler with its method and path. `public` needs no token; `hidden` is left out of the API document.

    `gate` says what is asked of the host and the origin of a request: nothing of a probe, the host for a `page` that is the
    same for everybody, and both for `data`.
    """

    method: str
    path: str
    operation_id: str
    summary: str
    handler: Handler
    _: dataclasses.KW_ONLY
    description: str = ""
    tag: str = "jobs"
    status: int = 200
    more_statuses: Mapping[int, str] = dataclasses.field(default_factory=dict)
    media_type: str = "application/json"
    public: bool = False
    hidden: bool = False
    gate: Literal["probe", "page", "data"] = "data"
    decoder: BodyDecoder[Any] | None = None
    body_optional: bool = False
    body_example: Any = None
    body_max_bytes: int | None = None
    answer_example: Any = None
    problems: tuple[ProblemType, ...] = ()
    request_headers: tuple[Header, ...] = ()
    response_headers: tuple[Header, ...] = ()


class Bound:
    """An operation with the resolved types of its handler."""

    __slots__ = (
        "acceptable",
        "answer_type",
        "body_max_bytes",
        "body_type",
        "decoder",
        "handler",
        "operation",
        "path_type",
        "public",
        "query",
        "raw_body",
    )

    def __init__(self, operation: Operation, *, body_max_bytes: int) -> None:
        hints = typing.get_type_hints(operation.handler)
        answer = typing.get_args(hints.pop("return"))
        (call,) = hints.values()
        self.path_type, query_type, self.body_type = typing.get_args(call)
        self.operation = operation
        self.handler = operation.handler
        self.public = operation.public
        self.answer_type = answer[0] if answer else Nothing
        self.query: QueryDecoder[Any] = QueryDecoder(query_type)
        self.raw_body = typing.get_origin(self.body_type) is Document
        self.decoder = operation.decoder
        if self.raw_body:
            (self.body_type,) = typing.get_args(self.body_type)
        elif self.body_type is not Nothing and self.decoder is None:
            self.decoder = BodyDecoder(self.body_type)
        self.body_max_bytes = min(operation.body_max_bytes or body_max_bytes, body_max_bytes)
        essence = operation.media_type.partition(";")[0]
        wide = essence.partition("/")[0] + "/*"
        self.acceptable = (essence.encode(), wide.encode(), b"application/problem+json")

    @property
    def takes_body(self) -> bool:
        """Whether the operation reads a request body."""
        return self.body_type is not Nothing


def group(operations: list[Bound]) -> dict[str, dict[str, Bound]]:
    """Return the operations by path and method."""
    paths: dict[str, dict[str, Bound]] = {}
    for bound in operations:
        paths.setdefault(bound.operation.path, {})[bound.operation.method] = bound
    return paths
