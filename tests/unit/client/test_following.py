"""Following a log: over lost links, attempts and silences, without losing or repeating a byte, to the end of the job."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx2
import pytest

from kube_job_runner import client as sdk
from kube_job_runner.client.models import LogChunk
from tests.unit.client.conftest import JOB_ID, Driver, Script, job

CUT = httpx2.RemoteProtocolError("peer closed connection without sending complete message body")
MISSING = httpx2.Response(404, json={"code": "log-unavailable", "detail": "its pod never started"})
NOT_READY = httpx2.Response(409, json={"code": "log-not-ready", "detail": "not yet", "retryable": True})


class Stream(httpx2.SyncByteStream, httpx2.AsyncByteStream):
    """A body in pieces, which may end in a fault."""

    def __init__(self, *pieces: bytes | Exception) -> None:
        self.pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        for piece in self.pieces:
            if isinstance(piece, Exception):
                raise piece
            yield piece

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self:
            yield piece


def log(*pieces: bytes | Exception) -> Callable[[httpx2.Request], httpx2.Response]:
    """Return an answer with a log."""

    def answer(request: httpx2.Request) -> httpx2.Response:
        assert request.url.path == f"/v1/jobs/{JOB_ID}/logs"
        return httpx2.Response(200, headers={"content-type": "text/plain"}, stream=Stream(*pieces))

    return answer


def text(chunks: list[LogChunk]) -> bytes:
    """Return the bytes of chunks."""
    return b"".join(chunk.data for chunk in chunks)


def log_params(script: Script) -> list[dict[str, str]]:
    """Return the parameters of the log requests."""
    return [
        {k: v for k, v in request.url.params.items() if k != "frames"}
        for request in script.requests
        if request.url.path.endswith("/logs")
    ]


def test_a_log_is_read_once(client: Driver, script: Script) -> None:
    script.add(job("succeeded", 4), log(b"one\ntw", b"o\n"))
    assert client.call("logs", JOB_ID) == ["one", "two"]
    assert log_params(script) == [{"attempt": "1"}]


def test_tail_and_attempt_are_passed_on(client: Driver, script: Script) -> None:
    script.add(job("running", 4, attempt=3), log(b"x"))
    client.call("logs", JOB_ID, tail=5, attempt=2)
    assert log_params(script) == [{"tail": "5", "attempt": "2"}]


def test_a_log_that_is_not_there_is_an_error_never_empty(client: Driver, script: Script) -> None:
    script.add(job("succeeded", 4), MISSING)
    with pytest.raises(sdk.NotFound, match="never started"):
        client.call("logs", JOB_ID)


def test_a_log_of_a_queued_job_is_not_ready(client: Driver, script: Script) -> None:
    script.add(job("queued", 1), NOT_READY)
    with pytest.raises(sdk.Conflict, match="not yet"):
        client.call("logs", JOB_ID)


def test_a_read_that_is_cut_goes_on_where_it_was(client: Driver, script: Script) -> None:
    script.add(job("succeeded", 4), log(b"abc", CUT), log(b"ab", b"cdef"))
    assert text(client.call("log_chunks", JOB_ID)) == b"abcdef"


def test_following_waits_for_the_start_and_ends_with_the_record(client: Driver, script: Script) -> None:
    script.add(
        job("queued", 1),
        job("starting", 2),
        log(b"a\n", b"b\n"),
        job("running", 3),
        job("succeeded", 4),
    )
    assert client.call("logs", JOB_ID, follow=True) == ["a", "b"]
    assert log_params(script) == [{"follow": "true", "attempt": "1"}]


def test_the_end_of_the_stream_is_not_the_end_of_the_job(client: Driver, script: Script) -> None:
    silent = [job("running", 3)] * 5
    script.add(job("running", 3), log(b"a\n"), *silent, log(b"a\nb\n"), job("succeeded", 4))
    assert client.call("logs", JOB_ID, follow=True) == ["a", "b"]
    assert len(log_params(script)) == 2


def test_a_cut_stream_is_taken_up_without_loss_or_repetition(client: Driver, script: Script) -> None:
    script.add(
        job("running", 3),
        log(b"line 1\nli", CUT),
        job("running", 3),
        httpx2.ConnectError("down"),
        job("running", 3),
        log(b"line 1\nline 2\n", httpx2.ReadError("reset")),
        job("succeeded", 4),
        log(b"line 1\nline 2\nline 3\n"),
    )
    assert client.call("logs", JOB_ID, follow=True) == ["line 1", "line 2", "line 3"]
    assert log_params(script)[-1] == {"attempt": "1"}


def test_a_tail_is_taken_up_by_its_last_bytes(client: Driver, script: Script) -> None:
    script.add(
        job("running", 3),
        log(b"line 8\nline 9\n", CUT),
        job("succeeded", 4),
        log(b"line 1\nline 2\nli", b"ne 8\nline 9", b"\nline 10\n"),
    )
    assert client.call("logs", JOB_ID, follow=True, tail=2) == ["line 8", "line 9", "line 10"]
    assert log_params(script) == [{"follow": "true", "tail": "2", "attempt": "1"}, {"attempt": "1"}]


def test_a_silent_log_is_no_outage(client: Driver, script: Script) -> None:
    silence: list[Any] = []
    for _ in range(10):
        silence += [httpx2.ReadTimeout("silence"), job("running", 3)]
    script.add(job("running", 3), *silence, log(b"at last\n"), job("succeeded", 4))
    assert client.call("logs", JOB_ID, follow=True, outage_seconds=1) == ["at last"]


def test_following_goes_on_into_later_attempts(client: Driver, script: Script) -> None:
    script.add(
        job("running", 3, attempt=1),
        log(b"first"),
        job("queued", 4, attempt=1),
        job("starting", 5, attempt=2),
        log(b"second"),
        job("succeeded", 6, attempt=2),
    )
    chunks = client.call("log_chunks", JOB_ID, follow=True)
    assert [(chunk.attempt, chunk.data) for chunk in chunks] == [(1, b"first"), (2, b"second")]


def test_lines_of_two_attempts_are_not_joined(client: Driver, script: Script) -> None:
    script.add(
        job("running", 3, attempt=1),
        log(b"first"),
        job("running", 5, attempt=2),
        log(b"second"),
        job("failed", 6, attempt=2),
    )
    assert client.call("logs", JOB_ID, follow=True) == ["first", "second"]


def test_a_pinned_attempt_ends_with_it(client: Driver, script: Script) -> None:
    script.add(job("running", 3, attempt=1), log(b"first"), job("queued", 4, attempt=1))
    assert client.call("logs", JOB_ID, follow=True, attempt=1) == ["first"]


def test_an_attempt_without_a_log_does_not_hide_the_next_one(client: Driver, script: Script) -> None:
    script.add(
        job("starting", 2, attempt=1),
        NOT_READY,
        job("queued", 3, attempt=1),
        MISSING,
        job("running", 5, attempt=2),
        log(b"second\n"),
        job("succeeded", 6, attempt=2),
    )
    assert client.call("logs", JOB_ID, follow=True) == ["second"]


def test_following_a_job_that_never_started_says_so(client: Driver, script: Script) -> None:
    script.add(job("starting", 2), NOT_READY, job("failed", 3, started_at=None), MISSING)
    with pytest.raises(sdk.NotFound):
        client.call("logs", JOB_ID, follow=True)


def test_following_a_job_cancelled_in_the_queue_says_so(client: Driver, script: Script) -> None:
    script.add(job("queued", 1), job("cancelled", 2, attempt=0), MISSING)
    with pytest.raises(sdk.NotFound):
        client.call("logs", JOB_ID, follow=True)
