"""Logs of a real kubelet through the whole product, compared byte for byte with what was written."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest

from testbed.cluster import Cluster
from testbed.realnode import RealNode
from tests.cluster.conftest import running_product
from tests.support.postgres import Server
from tests.support.product import Product, wait_until

pytestmark = [pytest.mark.cluster, pytest.mark.realnode, pytest.mark.timeout(400)]

REAL: dict[str, Any] = {
    "image": "localhost/busybox:1",
    "node_selector": {"kjr.test/real": "1"},
    "tolerations": [{"key": "kjr.test/real", "operator": "Exists"}],
}
MIB = 1024 * 1024
BIG = 100_000_000


@pytest.fixture(scope="module", autouse=True)
def node(kube_real_node: RealNode) -> RealNode:
    """The real node joins the shared cluster for this module."""
    return kube_real_node


@pytest.fixture(scope="module")
def roomy(kube_cluster: Cluster, pg_server: Server) -> Iterator[Product]:
    """The product with a cap of 1 GiB, so that nothing is left out."""
    with running_product(
        kube_cluster,
        pg_server,
        sweep_seconds=0.2,
        log_max_bytes=1024 * MIB,
        log_follow_after_seconds=1,
    ) as made:
        yield made


def shell(product: Product, script: str, **spec: Any) -> str:
    return product.submit(**(REAL | {"command": ["sh", "-c", script]} | spec))


def log_of(product: Product, job_id: str, **query: Any) -> bytes:
    """Return the log once the job has ended and its log is complete."""
    product.wait_for(job_id, timeout_seconds=240)
    wait_until(
        lambda: product.attempts(job_id)[-1]["logs"] in ("stored", "lost"), what="the log is done", timeout_seconds=120
    )
    with product.http.stream("GET", f"/v1/jobs/{job_id}/logs", params={"follow": "true"} | query) as answer:
        assert answer.status_code == 200, answer.read()
        return b"".join(answer.iter_raw())


def peak_mib(product: Product, component: str) -> float:
    """Return the most memory that a component ever had."""
    status = Path(f"/proc/{product.pid(component)}/status").read_text()
    match = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert match is not None
    return int(match[1]) / 1024


def test_bytes_are_as_they_were_written(product: Product) -> None:
    """Binary bytes, carriage returns of a progress bar, empty lines, and no line feed at the end."""
    script = r"printf 'a\000b\377\n\n'; printf '10%%\r20%%\r30%%\n'; printf 'x y  \nno end'"
    expected = b"a\x00b\xff\n\n10%\r20%\r30%\nx y  \nno end"
    read = log_of(product, shell(product, script))
    assert read in (expected, expected + b"\n"), "old containerds end the last line themselves"


def test_no_output_is_an_empty_log(product: Product) -> None:
    assert log_of(product, shell(product, "true")) == b""


def test_one_line_of_10_mb(product: Product) -> None:
    script = "head -c 10000000 /dev/zero | tr '\\0' x; echo; echo end"
    read = log_of(product, shell(product, script))
    assert len(read) == 10_000_005
    assert read == b"x" * 10_000_000 + b"\nend\n"


def test_a_followed_line_that_grows_slowly_is_one_line(product: Product) -> None:
    """A line longer than the runtime's 16 KiB parts, printed over seconds while it is followed."""
    script = "for i in 1 2 3 4 5 6 7 8; do head -c 20000 /dev/zero | tr '\\0' $i; sleep 1; done; echo; echo end"
    job_id = shell(product, script)
    product.wait_for(job_id, "running", timeout_seconds=120)
    read = log_of(product, job_id)
    assert read == b"".join(b"%d" % n * 20_000 for n in range(1, 9)) + b"\nend\n"
    assert log_of(product, job_id, timestamps="true").count(b"Z ") == 2


def expected_numbers() -> tuple[str, int]:
    """Return the digest and the length of what the big jobs print."""
    digest, size = hashlib.sha256(), 0
    for start in range(0, 1_250_000, 50_000):
        part = b"".join(
            b"%07d line of eighty bytes, more or less, so that it is about a hundred MB\n" % n
            for n in range(start, start + 50_000)
        )
        digest.update(part)
        size += len(part)
    return digest.hexdigest(), size


NUMBERS = (
    "awk 'BEGIN { for (i = 0; i < 1250000; i++)"
    ' printf "%07d line of eighty bytes, more or less, so that it is about a hundred MB\\n", i }\''
)


def test_100_mb_arrive_entirely_under_a_cap_that_has_room(roomy: Product, record_property: Any) -> None:
    digest, size = expected_numbers()
    began = time.monotonic()
    job_id = shell(roomy, NUMBERS)
    found = hashlib.sha256()
    total, marks = 0, 0
    roomy.wait_for(job_id, timeout_seconds=240)
    with roomy.http.stream("GET", f"/v1/jobs/{job_id}/logs", params={"follow": "true"}) as answer:
        for data in answer.iter_raw():
            found.update(data)
            total += len(data)
            marks += data.count(b"[kube-job-runner")
            if b"[kube-job-runner" in data:
                place = data.index(b"[kube-job-runner")
                print(data[max(0, place - 200) : place + 300])  # noqa: T201
    record_property("seconds", time.monotonic() - began)
    for component in ("log-collector", "web-server"):
        peak = peak_mib(roomy, component)
        record_property(f"{component} peak MiB", peak)
        print(f"{component}: {peak:.0f} MiB at most, {size} bytes in {time.monotonic() - began:.1f} s")  # noqa: T201
        assert peak < 200
    if marks:
        print(roomy.log_file("log-collector").read_text())  # noqa: T201
    assert (total, found.hexdigest(), marks) == (size, digest, 0)


def test_100_mb_keep_their_first_and_last_part_under_the_default_cap(product: Product) -> None:
    job_id = shell(product, NUMBERS)
    text = log_of(product, job_id)
    head, _, rest = text.partition(b"[kube-job-runner: ")
    mark, _, tail = rest.partition(b"]\n")
    match = re.match(rb"(\d+) bytes \((\d+) lines\) left out here", mark)
    assert match is not None, mark
    _, size = expected_numbers()
    assert len(head.rstrip(b"\n")) + len(tail) + int(match[1]) in range(size - 2, size + 3)
    assert head.startswith(b"0000000 line of eighty")
    assert tail.endswith(b"1249999 line of eighty bytes, more or less, so that it is about a hundred MB\n")
    assert 63 * MIB < len(head) + len(tail) <= 64 * MIB + 256 * 1024
    assert log_of(product, job_id, tail=2).startswith(b"1249998 line")


def test_a_reader_follows_across_the_end_of_the_job(product: Product) -> None:
    job_id = shell(product, "for i in $(seq 1 40); do echo line $i; sleep 0.05; done; echo last")
    with product.http.stream("GET", f"/v1/jobs/{job_id}/logs", params={"follow": "true"}) as answer:
        read = b"".join(answer.iter_raw())
    assert read == b"".join(b"line %d\n" % n for n in range(1, 41)) + b"last\n"
    assert product.wait_for(job_id)["state"] == "succeeded"


def test_a_cancelled_job_keeps_what_its_trap_printed(product: Product) -> None:
    job_id = shell(
        product,
        "trap 'echo cleaning up; sleep 0.5; echo cleaned; exit 7' TERM; echo up; while true; do sleep 0.1; done",
    )
    product.wait_for(job_id, "running", timeout_seconds=120)
    product.cancel(job_id)
    product.wait_for(job_id, timeout_seconds=60)
    assert log_of(product, job_id) == b"up\ncleaning up\ncleaned\n"


def test_a_pod_deleted_while_it_logs(kube_cluster: Cluster, product: Product) -> None:
    script = "trap 'echo told to stop; exit 1' TERM; i=0; while true; do i=$((i+1)); echo line $i; sleep 0.02; done"
    job_id = shell(product, script)
    with product.http.stream("GET", f"/v1/jobs/{job_id}/logs", params={"follow": "true"}) as answer:
        chunks = answer.iter_raw()
        read = next(chunks)
        [attempt] = product.attempts(job_id)
        kube_cluster.kubectl("delete", "pod", attempt["pod_name"], "-n", product.namespace, "--wait=false")
        read += b"".join(chunks)
    lines = read.splitlines()
    assert lines[-1] == b"told to stop"
    assert lines[:-1] == [b"line %d" % n for n in range(1, len(lines))]
    wait_until(lambda: len(product.attempts(job_id)) == 2, what="the free retry of a pod that somebody deleted")
    assert product.attempts(job_id)[0]["reason"] == "PodDeleted"
    product.cancel(job_id)
    assert product.wait_for(job_id)["state"] == "cancelled"


def test_a_restarted_collector_goes_on_where_it_was(product: Product) -> None:
    job_id = shell(product, "for i in $(seq 1 2000); do echo line $i; sleep 0.005; done")
    product.wait_for(job_id, "running", timeout_seconds=120)
    with product.http.stream("GET", f"/v1/jobs/{job_id}/logs", params={"follow": "true"}) as answer:
        chunks = answer.iter_raw()
        read = next(chunks)
        for _ in range(2):
            time.sleep(1.0)
            product.kill("log-collector")
            product.start("log-collector")
        read += b"".join(chunks)
    assert read == b"".join(b"line %d\n" % n for n in range(1, 2001))


def test_the_web_server_has_no_way_into_the_cluster(product: Product) -> None:
    assert "web-server" not in product._kubeconfigs
    with pytest.raises(httpx2.HTTPStatusError):
        product.http.get("/v1/jobs/01a7f1de-0000-7000-8000-00000000002a/logs").raise_for_status()
    wait_until(lambda: product.alive("log-collector"), what="the collector lives")


def test_a_line_is_seen_soon_after_it_was_printed(product: Product, record_property: Any) -> None:
    """The node's clock is this machine's, so a line's own time can be held against its arrival."""
    job_id = shell(product, "sleep 2; for i in $(seq 1 100); do echo line; sleep 0.13; done")
    delays: list[float] = []
    query = {"follow": "true", "timestamps": "true"}
    with product.http.stream("GET", f"/v1/jobs/{job_id}/logs", params=query) as answer:
        for data in answer.iter_raw():
            now = time.time()
            for text in data.decode().splitlines():
                printed = datetime.fromisoformat(text[:26] + "+00:00")
                delays.append(now - printed.timestamp())
    delays.sort()
    p50, p99 = delays[len(delays) // 2], delays[-2]
    record_property("seconds from print to reader, p50 and p99", (p50, p99))
    print(f"from print to reader: p50 {p50:.2f} s, p99 {p99:.2f} s")  # noqa: T201
    assert len(delays) == 100
    assert p50 < 1
