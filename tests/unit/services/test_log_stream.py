"""What a kubelet really does when a log is rotated, acted out: files left out, files given twice, lines cut in two.

Seen on a kubelet 1.36 with `containerLogMaxSize: 1Mi`; `tests/cluster/test_log_rotation.py` is the same with a real one.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kube_job_runner.domain.logs import rotation
from kube_job_runner.domain.logs.chunks import Body, Chunk, decode_body, mark_line
from kube_job_runner.domain.logs.stamps import format_stamp
from kube_job_runner.ports import LogWork, StoredLog
from kube_job_runner.services.log_stream import LogStream

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime]

NOW = datetime(2026, 1, 15, 9, 0, tzinfo=UTC)
START = int(NOW.timestamp()) * 10**9
SECOND = 10**9
WIDE = b"x" * 99


def line(number: int) -> bytes:
    return b"%07d %s\n" % (number, WIDE)


def lines(first: int, end: int) -> list[tuple[int, bytes]]:
    """Return lines, one for each 0.1 ms."""
    return [(START + n * SECOND // 10_000, line(n)) for n in range(first, end)]


def stamped(some: Sequence[tuple[int, bytes]], *, later_seconds: float = 0.0) -> bytes:
    later = int(later_seconds * SECOND)
    return b"".join(format_stamp(stamp + later) + b" " + data for stamp, data in some)


class Kubelet:
    """Gives one scripted stream for each request: bytes, or a pause in seconds. A `sinceTime` is heeded."""

    def __init__(self, *streams: Sequence[bytes | float]) -> None:
        self.streams = list(streams)
        self.asked: list[tuple[bool, datetime | None]] = []

    async def logs(self, *_: Any, follow: bool, since: datetime | None = None, **__: Any) -> AsyncIterator[bytes]:
        self.asked.append((follow, since))
        limit = format_stamp(int(since.timestamp()) * SECOND) if since is not None else b""
        for part in self.streams.pop(0):
            if isinstance(part, bytes):
                yield b"".join(one for one in part.splitlines(keepends=True) if one[:30] >= limit)
            else:
                await asyncio.sleep(part)


class Bench:
    """A stream with a store of chunks that is up to date before each request."""

    def __init__(self, *streams: Sequence[bytes | float], work: LogWork | None = None) -> None:
        self.kubelet = Kubelet(*streams)
        self.chunks: dict[int, Chunk] = {}
        given = work or LogWork(job_id=uuid.UUID(int=1), attempt=1, namespace="work", pod_name="pod", now=NOW)
        self.stream = LogStream(given, "main", cluster=self.kubelet, store=self, max_bytes=2**30)  # type: ignore[arg-type]

    async def stored(self, *_: Any) -> StoredLog:
        return StoredLog()

    async def stamps_since(self, _key: Any, _container: str, stamp: int) -> list[int]:
        return [one for body in self.bodies() for one in body.stamps if one >= stamp]

    def bodies(self) -> list[Body]:
        return [decode_body(chunk.data) for _, chunk in sorted(self.chunks.items()) if chunk.data is not None]

    def store(self, *, final: bool = False) -> None:
        chunks, _ = self.stream.take(final=final)
        self.chunks |= {chunk.seq: chunk for chunk in chunks}

    async def read(self, *, follow: bool, **times: datetime) -> bool:
        storing = asyncio.create_task(self._store_all_the_time())
        try:
            return await self.stream.read("pod", follow=follow, **times)
        finally:
            storing.cancel()
            self.store()

    async def _store_all_the_time(self) -> None:
        while True:
            await asyncio.sleep(0.01)
            self.store()

    def text(self) -> bytes:
        """Return what a reader sees, each mark as `[...]`."""
        self.store(final=True)
        return b"".join(
            mark_line(chunk.mark, mid_line=False) if chunk.mark else decode_body(chunk.data or b"").content
            for _, chunk in sorted(self.chunks.items())
        )


def printed(first: int, end: int) -> bytes:
    return b"".join(line(n) for n in range(first, end))


GAP = b"[kube-job-runner: lines may be missing here: the log was rotated while it was not read]\n"
BEHIND = b"[kube-job-runner: lines may be missing here: the log was rotated faster than the kubelet gave it out]\n"
HEAD = b"[kube-job-runner: lines may be missing before this: the log was rotated before it was read]\n"


async def test_a_newer_file_that_begins_where_the_followed_one_ended_has_no_mark() -> None:
    """The kubelet was behind when the container ended: it gave the rotated file to its end and the newest one not at all."""
    bench = Bench([stamped(lines(0, 15_000))], [stamped(lines(15_000, 15_100))])
    assert await bench.read(follow=True)
    assert await bench.read(follow=False)
    assert bench.text() == printed(0, 15_100)


async def test_the_rest_of_a_line_that_the_rotation_cut_is_put_to_its_beginning() -> None:
    half = line(15_000)[:40]
    cut = stamped([*lines(0, 15_000), (START + SECOND * 3 // 2, half)])
    rest = stamped([(START + SECOND * 16 // 10, line(15_000)[40:]), *lines(16_001, 16_100)])
    bench = Bench([cut], [rest])
    assert await bench.read(follow=True)
    assert await bench.read(follow=False)
    assert bench.text() == printed(0, 15_001) + printed(16_001, 16_100)


@pytest.mark.parametrize("how", ["later", "broken"])
async def test_a_hole_that_cannot_be_excluded_has_a_mark(how: str) -> None:
    """More time than between two rotations, or a file that was not read to its end."""
    bench = Bench(
        [stamped(lines(0, 15_000))],
        [stamped(lines(15_000, 15_100), later_seconds=2.6 if how == "later" else 0.0)],
    )
    assert await bench.read(follow=True)
    if how == "broken":
        bench.stream._rotation._at_end = False
    assert await bench.read(follow=False)
    assert bench.text() == printed(0, 15_000) + GAP + printed(15_000, 15_100)


async def test_a_file_that_a_late_kubelet_left_out_has_a_mark() -> None:
    bench = Bench([stamped(lines(0, 15_000)) + stamped(lines(50_000, 50_100))])
    assert await bench.read(follow=True, now=NOW)
    assert bench.text() == printed(0, 15_000) + BEHIND + printed(50_000, 50_100)


async def test_a_quiet_time_has_no_mark() -> None:
    """The job printed nothing for three seconds, and so nothing came; before the reading began it did not count at all."""
    bench = Bench([stamped(lines(0, 15_000)), 2.9, stamped(lines(44_000, 44_100)), stamped(lines(44_100, 44_200))])
    assert await bench.read(follow=True, now=NOW)
    assert bench.text() == printed(0, 15_000) + printed(44_000, 44_200)
    bench = Bench([stamped(lines(0, 15_000)) + stamped(lines(50_000, 50_100))])
    assert await bench.read(follow=True, now=NOW + timedelta(seconds=6))
    assert bench.text() == printed(0, 15_000) + printed(50_000, 50_100)


async def test_a_file_that_comes_again_is_recognised() -> None:
    """Its first line is the rest of one that the rotation cut, whose stamp nobody knows."""
    whole = lines(0, 30_000)
    torn = (START + SECOND * 2 - 1000, b"of the line before\n")
    bench = Bench(
        [stamped(whole[:25_000]), stamped([torn, *whole[20_000:22_000]])],
        [stamped([torn, *whole[20_000:]])],
    )
    assert not await bench.read(follow=True)
    assert await bench.read(follow=True)
    assert bench.text() == printed(0, 30_000)
    assert bench.kubelet.asked[1] == (True, NOW - timedelta(seconds=1)), "two seconds before what came again"


async def test_a_clock_that_was_set_back_costs_one_more_request() -> None:
    back = lines(0, 100)
    file = stamped(lines(0, 15_000), later_seconds=60) + stamped(back)
    bench = Bench([file], [file + stamped(lines(100, 200))])
    assert not await bench.read(follow=True)
    assert await bench.read(follow=True)
    assert bench.text() == printed(0, 15_000) + printed(0, 200)


async def test_a_silent_follow_of_a_large_log_is_asked_for_anew() -> None:
    """It may be at the end of a file that was rotated away before the kubelet watched for that."""
    bench = Bench([stamped(lines(0, 15_000)), 3600.0], [stamped(lines(14_900, 15_100))])
    assert not await bench.read(follow=True)
    assert asyncio.get_running_loop().time() < 10
    assert await bench.read(follow=True)
    assert bench.text() == printed(0, 15_100)


async def test_a_silent_follow_of_a_small_log_is_left_alone() -> None:
    bench = Bench([stamped(lines(0, 100)), 30.0, stamped(lines(100, 101))])
    assert await bench.read(follow=True)
    assert bench.text() == printed(0, 101)


@pytest.mark.parametrize(
    ("late_seconds", "every", "marked"),
    [(3.0, 1, True), (0.9, 1, False), (3.0, 100, False)],
    ids=["rotated", "at the start", "slow"],
)
async def test_a_log_that_begins_late_and_fast_may_have_been_rotated(
    late_seconds: float, every: int, marked: bool
) -> None:
    some = [(START + int(late_seconds * SECOND) + n * every * 10_000, line(n)) for n in range(20_000)]
    bench = Bench([stamped(some)])
    assert await bench.read(follow=False, now=NOW + timedelta(seconds=60), started_at=NOW)
    assert bench.text() == (HEAD if marked else b"") + printed(0, 20_000)


async def test_a_log_that_was_followed_before_it_began_was_not_rotated() -> None:
    some = [(START + 9 * SECOND + n * 10_000, line(n)) for n in range(20_000)]
    bench = Bench([stamped(some)])
    assert await bench.read(follow=True, now=NOW + timedelta(seconds=6), started_at=NOW)
    assert bench.text() == printed(0, 20_000)


async def test_what_is_called_a_large_log_is_below_what_a_kubelet_rotates() -> None:
    assert len(stamped(lines(0, 15_000))) > rotation.ROTATES_BYTES
