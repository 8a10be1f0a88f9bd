"""Jobs per second through the whole product on a real API server, compared with plain client-go on the same cluster.

The floor only creates Jobs and watches them to their end; the product also takes them over HTTP, stores, queues and records
them. Both share the cores with the cluster, so only the ratio counts.
"""

from __future__ import annotations

import resource
import shutil
import tempfile
import time
from collections import Counter
from pathlib import Path

from bench import table
from kube_job_runner.adapters import postgres
from kube_job_runner.domain.errors import KjrError
from testbed import cluster as clusters
from testbed import floor
from tests.support import kubernetes
from tests.support.product import COMPONENTS, Product

BATCH = 500


def _run_product(product: Product, jobs: int) -> tuple[float, Counter[str]]:
    """Submit the jobs in arrays, wait until all have ended; return the seconds from the first submit, and the states."""
    spec = {
        "image": "registry.example.com/tool:1",
        "command": ["run"],
        "namespace": product.namespace,
        "annotations": {"kjr.test/run": "0s"},
    }
    began = time.monotonic()
    for start in range(0, jobs, BATCH):
        answer = product.http.post("/v1/jobs:batch", json={"jobs": [spec] * min(BATCH, jobs - start)})
        assert answer.status_code == 200, answer.text
    while True:
        query: dict[str, str | int] = {"state": "queued,starting,running,stopping", "limit": 1}
        if not product.http.get("/v1/jobs", params=query).json()["jobs"]:
            break
        assert time.monotonic() - began < 1200, "the jobs do not end"
        time.sleep(0.25)
    seconds = time.monotonic() - began
    states: Counter[str] = Counter()
    cursor: dict[str, str] = {}
    while True:
        page = product.http.get("/v1/jobs", params={"limit": 500, **cursor}).json()
        states.update(job["state"] for job in page["jobs"])
        if not page.get("next_cursor"):
            return seconds, states
        cursor = {"cursor": page["next_cursor"]}


def _cpu_seconds(product: Product) -> dict[str, float]:
    ticks = 100.0
    found = {}
    for name in COMPONENTS:
        fields = Path(f"/proc/{product.pid(name)}/stat").read_text().rsplit(")", 1)[1].split()
        found[name] = (int(fields[11]) + int(fields[12])) / ticks
    return found


def main(*, jobs: int = 5_000, cleanup_delay_seconds: float = 300.0) -> None:
    """Measure and print."""
    folder = Path(tempfile.mkdtemp(prefix="kjr-bench-"))
    try:
        with clusters.start(profile="raised", audit=True) as cluster:
            lowest = floor.run(cluster, jobs=jobs)
        with clusters.start(profile="raised", audit=True, pod_logs=True) as cluster:
            namespace, configs = kubernetes.install(cluster)
            server = postgres.embedded.start(folder)
            try:
                product = Product(
                    database_url=server.url,
                    namespace=namespace,
                    kubeconfigs=configs,
                    instance="bench",
                    cleanup_delay_seconds=cleanup_delay_seconds,
                    log_level="warning",
                )
                with product:
                    seconds, states = _run_product(product, jobs)
                    cpu = _cpu_seconds(product)
                    # An audit event may follow its answer by a moment.
                    time.sleep(1)
                    ours = Counter(
                        event["verb"] + " " + event["objectRef"]["resource"]
                        for event in cluster.audit_events()
                        if event.get("objectRef", {}).get("namespace") == namespace
                    )
            finally:
                server.stop()
    except KjrError as error:
        raise SystemExit(f"bench: {error}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    rate = jobs / seconds
    rows = [
        [
            "client-go floor",
            f"{lowest.jobs_per_second:.1f}",
            "1.00",
            f"{lowest.requests_per_job:.1f} (all clients)",
            "",
        ],
        [
            "kube-job-runner",
            f"{rate:.1f}",
            f"{rate / lowest.jobs_per_second:.2f}",
            f"{sum(ours.values()) / jobs:.2f} (ours)",
            ", ".join(f"{name} {value / jobs * 1000:.1f}" for name, value in cpu.items()),
        ],
    ]
    header = ["run", "jobs/s", "of the floor", "API requests per job", "our CPU s per 1,000 jobs"]
    table.show(f"{jobs:,} one-pod jobs, profile `raised`, submit to terminal state in our database", header, rows)
    print(f"\nstates: {dict(states)}; our requests: {dict(ours)}; cleanup delay {cleanup_delay_seconds:g} s")
    print(f"peak RSS of this driver's children: {resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024} MB")
