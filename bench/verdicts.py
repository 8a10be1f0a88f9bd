"""The time to a verdict where there is no grace: from the failing signal in a watch to our verdict.

The time of the signal comes from the benchmark's own watch on the same API server, that of the verdict from the transition,
which the processor stamps just before it commits. Both are from this machine's clock.
"""

from __future__ import annotations

import datetime as dt
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench import table
from kube_job_runner.adapters import postgres
from testbed import cluster as clusters
from tests.support import kubernetes
from tests.support.product import Product, wait_until
from tests.support.sightings import Sightings, failed, waiting

# Every one is fatal at once: (what the table calls it, KWOK script, the reason that must be found).
SIGNALS = (
    ("InvalidImageName", "couldn't parse image name: invalid reference format", "ImageReferenceInvalid"),
    ("CreateContainerConfigError", "container has runAsNonRoot and image will run as root", "SecurityPolicy"),
    ("RunContainerError", 'exec: "/no/such": stat /no/such: no such file or directory: unknown', "CommandNotFound"),
)
START_ERROR = 'exec: "/no/such": stat /no/such: no such file or directory: unknown'


@contextmanager
def _bed() -> Iterator[tuple[Product, Sightings]]:
    folder = Path(tempfile.mkdtemp(prefix="kjr-bench-"))
    try:
        with clusters.start(profile="raised") as cluster:
            namespace, configs = kubernetes.install(cluster)
            server = postgres.embedded.start(folder)
            try:
                product = Product(
                    database_url=server.url,
                    namespace=namespace,
                    kubeconfigs=configs,
                    instance="bench",
                    log_level="warning",
                )
                with product, Sightings(cluster) as sightings:
                    product.wait_for(product.submit())  # warm: connections, pools, plans
                    yield product, sightings
            finally:
                server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _script(number: int, *, ended: bool) -> tuple[dict[str, str], str]:
    """Return what the pod of a number shows, and the reason that must be found."""
    if ended:
        return {"mode": "start-error", "message": START_ERROR}, "CommandNotFound"
    waits_for, message, reason = SIGNALS[number % len(SIGNALS)]
    return {"mode": "waiting", "waiting-reason": waits_for, "waiting-message": message}, reason


def _measure(product: Product, sightings: Sightings, *, jobs: int, per_second: float, ended: bool) -> list[float]:
    """Submit jobs at a rate; return the milliseconds from each pod's signal to its verdict, sorted."""
    wanted: dict[str, str] = {}
    began = time.monotonic()
    for number in range(jobs):
        time.sleep(max(0.0, began + number / per_second - time.monotonic()))
        script, reason = _script(number, ended=ended)
        wanted[product.submit(annotations=script)] = reason
    signal = failed if ended else waiting(*(waits_for for waits_for, _, _ in SIGNALS))
    took = []
    for job_id, reason in wanted.items():
        job = product.wait_for(job_id, timeout_seconds=120)
        assert job["reason"] == reason, job
        seen_at = wait_until(lambda: sightings.first(job_id, signal), what=f"our own watch shows {job}")  # noqa: B023
        took.append((dt.datetime.fromisoformat(job["finished_at"]) - seen_at).total_seconds() * 1000)
    return sorted(took)


def main(*, jobs: int = 300) -> None:
    """Measure and print."""
    rows = []
    with _bed() as (product, sightings):
        for title, per_second, ended in (
            ("a container waits, 5 jobs/s", 5.0, False),
            ("a container waits, all at once", float("inf"), False),
            ("the pod has ended, 5 jobs/s", 5.0, True),
        ):
            took = _measure(product, sightings, jobs=jobs, per_second=per_second, ended=ended)
            figures = (took[len(took) // 2], took[int(len(took) * 0.99)], took[-1])
            rows.append([title, str(jobs), *(f"{figure:.0f}" for figure in figures)])
    header = ["signal", "pods", "p50 ms", "p99 ms", "max ms"]
    table.show("From the signal on the watch to our verdict, no grace", header, rows)
