"""Handling: the typed call that a handler gets, and the reply that it returns."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from typing import Any, Generic, TypeVar

import msgspec
from starlette.types import Receive

from kube_job_runner.web.kit.decoding import Decoding
from kube_job_runner.web.validation.fault import Fault

PathT = TypeVar("PathT")
QueryT = TypeVar("QueryT")
BodyT = TypeVar("BodyT")
AnswerT = TypeVar("AnswerT")

HeaderList = Sequence[tuple[bytes, bytes]]
JSON = b"application/json"
TEXT = b"text/plain; charset=utf-8"
HTML = b"text/html; charset=utf-8"


class Nothing(msgspec.Struct, frozen=True):
    """No path parameters, no query parameters, or no body."""


class Document(msgspec.Struct, Generic[BodyT]):
    """A JSON body that the handler decodes itself, by `decoding`. `BodyT` is its type in the API document."""

    raw: bytes
    decoding: Decoding


@dataclasses.dataclass(slots=True)
class Call(Generic[PathT, QueryT, BodyT]):
    """One request, parsed and typed. `principal` is the owner of the token; `warnings` are about unknown fields of the body."""

    path: PathT
    query: QueryT
    body: BodyT
    headers: Mapping[bytes, bytes]
    principal: str
    request_id: str
    url: str
    warnings: Sequence[Fault]
    receive: Receive
    draining: asyncio.Event

    async def attend(self, waiting: Awaitable[Any]) -> None:
        """Await something long. Return early when the client closes the connection or the server drains."""
        work = asyncio.ensure_future(waiting)
        await first_of(work, _disconnected(self.receive), self.draining.wait())


@dataclasses.dataclass(slots=True)
class Reply(Generic[AnswerT]):
    """An answer. `value` is encoded as JSON; instead of it, `content` holds bytes or `chunks` streams them."""

    value: AnswerT | None = None
    content: bytes | None = None
    chunks: AsyncIterator[bytes] | None = None
    status: int | None = None
    media_type: bytes = JSON
    headers: HeaderList = ()


async def first_of(work: asyncio.Future[Any], *watches: Awaitable[Any]) -> bool:
    """Wait for `work` or for the first of `watches`, and cancel the rest. Return whether it was `work`; raise its error."""
    others = [asyncio.ensure_future(watch) for watch in watches]
    try:
        await asyncio.wait([work, *others], return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            work.result()
            return True
        return False
    finally:
        pending = [task for task in (work, *others) if not task.done()]
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
