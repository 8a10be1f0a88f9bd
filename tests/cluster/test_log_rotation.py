"""Logs that a real kubelet rotates all the time: every line once, or a mark where the kubelet left a file out.

A kubelet serves only the newest file. When it follows a log and falls behind, it skips whole files or serves one twice.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from testbed import realnode
from testbed.cluster import Cluster
from tests.cluster.conftest import running_product
from tests.cluster.test_logs import log_of, shell
from tests.support.postgres import Server
from tests.support.product import Product

pytestmark = [pytest.mark.cluster, pytest.mark.realnode, pytest.mark.timeout(400)]

SETTINGS = {"containerLogMaxSize": "1Mi", "containerLogMonitorInterval": "3s"}
LINE = "%07d line of eighty bytes, more or less, so that it is about a hundred MB"
MARK = re.compile(rb"\[kube-job-runner: lines may be missing [^\]]*\]\n")


@pytest.fixture(scope="module")
def rotating(kube_cluster: Cluster) -> Iterator[Cluster]:
    """The shared cluster with a real node that rotates logs of 1 MiB every three seconds."""
    try:
        node = realnode.start(kube_cluster, kubelet_settings=SETTINGS)
    except realnode.RealNodeUnavailable as error:
        pytest.skip(f"no real node on this machine: {error}")
    with node:
        yield kube_cluster


@pytest.fixture
def made(rotating: Cluster, pg_server: Server, request: pytest.FixtureRequest) -> Iterator[Product]:
    """The product, with the follow delay that the test asks for, and a cap with room."""
    with running_product(rotating, pg_server, log_max_bytes=2**30, log_follow_after_seconds=request.param) as product:
        yield product


def writer(count: int, *, pause_every: int = 0) -> str:
    """Return a command that prints numbered lines, with a pause of 20 ms after so many."""
    pause = f'if (i % {pause_every} == 0) {{ fflush(); system("usleep 20000") }}' if pause_every else ""
    return f"awk 'BEGIN {{ for (i = 0; i < {count}; i++) {{ printf \"{LINE}\\n\", i; {pause} }} }}'"


def holes(text: bytes) -> tuple[int, list[tuple[int, int]]]:
    """Return how many marks there are, and every break in the numbers that no mark stands in."""
    bad: list[tuple[int, int]] = []
    parts = re.split(MARK, text)
    last = -1
    for number, part in enumerate(parts):
        for found in re.finditer(rb"^(\d{7}) line", part, re.MULTILINE):
            here = int(found[1])
            if here != last + 1 and not (number and found.start() < 200 and here > last):
                bad.append((last, here))
            last = here
    return len(parts) - 1, bad


@pytest.mark.parametrize("made", [0], indirect=True)
def test_a_log_that_is_followed_across_rotations_is_there_byte_for_byte(made: Product) -> None:
    read = log_of(made, shell(made, writer(200_000, pause_every=500)))
    assert read == b"".join(LINE.encode() % n + b"\n" for n in range(200_000))


@pytest.mark.parametrize("made", [0], indirect=True)
def test_what_comes_faster_than_it_is_rotated_has_marks_for_what_is_missing(
    made: Product, record_property: Any
) -> None:
    # It is followed from the start: what is rotated away in a container's first second leaves no mark (docs/reference/logs.md).
    read = log_of(made, shell(made, "sleep 3; " + writer(1_250_000)))
    marks, unmarked = holes(read)
    record_property("marks", marks)
    print(f"{len(read)} bytes, {marks} marks, breaks without one: {unmarked}")  # noqa: T201
    assert unmarked == []
    assert LINE.encode() % 1_249_999 in read[-200:]


@pytest.mark.parametrize("made", [3600], indirect=True)
def test_what_was_rotated_away_before_it_was_read_is_marked(made: Product) -> None:
    """Never followed: one request after the end, which gives the newest file alone."""
    read = log_of(made, shell(made, writer(400_000, pause_every=500)))
    marks, unmarked = holes(read)
    assert (marks, unmarked) == (1, [])
    assert read.startswith(b"[kube-job-runner: lines may be missing before this: ")
    assert not re.search(rb"^0000000 line", read, re.MULTILINE)
    assert read.endswith(LINE.encode() % 399_999 + b"\n")
