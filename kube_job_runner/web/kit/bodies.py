"""Request bodies: read within limits of bytes and time, and only plain JSON."""

import asyncio
from collections.abc import Mapping

from starlette.types import Receive

from kube_job_runner.web.kit.decoding import Lease
from kube_job_runner.web.kit.problems import BODY_TIMEOUT, BODY_TOO_LARGE, UNSUPPORTED_MEDIA_TYPE, RequestProblem

BODY_IS_HERE = "kube_job_runner.body_is_here"
"""In a scope: the whole body came with the head, so reading it needs no timer."""
_CLOSE = ((b"connection", b"close"),)
_PLAIN_TYPES = frozenset({b"application/json", b"application/json; charset=utf-8", b"application/json;charset=utf-8"})


class ClientGone(Exception):
    """The client closed the connection before its request was complete."""


def has_body(headers: Mapping[bytes, bytes]) -> bool:
    """Return whether a request has a body (RFC 9112, section 6.3)."""
    return headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in headers


def check_media_type(headers: Mapping[bytes, bytes]) -> None:
    """Refuse what is not uncompressed `application/json` in UTF-8.

    Raises:
        RequestProblem: 415. With a form or plain text, a foreign web page could post without a preflight request.
    """
    encoding = headers.get(b"content-encoding", b"identity").strip().lower()
    if encoding != b"identity":
        raise RequestProblem(UNSUPPORTED_MEDIA_TYPE, "compressed bodies are not accepted; leave out Content-Encoding")
    media_type = headers.get(b"content-type")
    if media_type in _PLAIN_TYPES:
        return
    if media_type is None:
        raise RequestProblem(UNSUPPORTED_MEDIA_TYPE, "Content-Type is missing; send application/json")
    essence, _, parameters = media_type.decode("latin-1").lower().partition(";")
    charset = parameters.strip().removeprefix("charset=").strip('"')
    if essence.strip() != "application/json" or (parameters.strip() and charset not in ("utf-8", "utf8")):
        shown = ascii(media_type.decode("latin-1"))[1:-1][:100]
        raise RequestProblem(UNSUPPORTED_MEDIA_TYPE, f"Content-Type is {shown}; send application/json in UTF-8")


async def read(
    receive: Receive,
    headers: Mapping[bytes, bytes],
    *,
    max_bytes: int,
    timeout_seconds: float,
    lease: Lease,
    here: bool = False,
) -> bytes:
    """Return the whole body. Its bytes are counted on `lease` as they come. `here` says that all of it has come.

    Raises:
        RequestProblem: 413 as soon as the body is known to be too large, 408 when it is not complete in time, 503 when there
            are too many bytes of bodies.
        ClientGone: the connection was lost.
    """
    declared = headers.get(b"content-length", b"")
    if declared.isdigit() and int(declared[:20]) > max_bytes:
        raise _too_large(max_bytes)
    if here:
        return await _read(receive, max_bytes, lease)
    try:
        async with asyncio.timeout(timeout_seconds):
            return await _read(receive, max_bytes, lease)
    except TimeoutError:
        detail = f"the body was not complete after {timeout_seconds:g} seconds"
        raise RequestProblem(BODY_TIMEOUT, detail, headers=_CLOSE) from None


async def _read(receive: Receive, max_bytes: int, lease: Lease) -> bytes:
    chunks: list[bytes] = []
    size_bytes = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        chunk = message.get("body", b"")
        size_bytes += len(chunk)
        if size_bytes > max_bytes:
            raise _too_large(max_bytes)
        lease.add(len(chunk))
        chunks.append(chunk)
        if not message.get("more_body", False):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _too_large(max_bytes: int) -> RequestProblem:
    return RequestProblem(BODY_TOO_LARGE, f"the body is larger than {max_bytes} bytes", headers=_CLOSE)
