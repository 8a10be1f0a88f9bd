"""kill -9 of every component, repeatedly, while jobs run: nothing is lost, nothing starts twice, nothing is left."""

from __future__ import annotations

import concurrent.futures
import functools
import itertools
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest

from testbed.cluster import Cluster
from tests.cluster.conftest import left_in_cluster, queue_settings, running_product
from tests.support.history import History, creates_in, violations
from tests.support.postgres import Server
from tests.support.product import TERMINAL, Product, wait_until

pytestmark = [pytest.mark.cluster, pytest.mark.crash, pytest.mark.timeout(600)]

JOBS = 500
KILLS = 40
MAX_IN_FLIGHT = 100


@pytest.fixture(params=["postgres", "sqs"])
def queue(request: pytest.FixtureRequest) -> str:
    """What carries the messages."""
    return str(request.param)


@pytest.fixture
def fragile(kube_cluster: Cluster, pg_server: Server, queue: str, request: pytest.FixtureRequest) -> Iterator[Product]:
    """The product with short leases and an early cleanup, so that recovery is quick to watch."""
    with running_product(
        kube_cluster,
        pg_server,
        image_grace_seconds=2,
        lease_seconds=5,
        log_deadline_seconds=2,  # simulated nodes have no logs
        max_deliveries=200,
        cleanup_delay_seconds=3,
        evidence_grace_seconds=60,
        sweep_seconds=0.2,
        batch_size=50,
        max_in_flight=MAX_IN_FLIGHT,
        **queue_settings(queue, request),
    ) as made:
        yield made


class Client:
    """A client that retries on connection errors only, with the same key: what our own SDK does."""

    def __init__(self, product: Product) -> None:
        self.product = product
        self.acknowledged: dict[str, str | None] = {}
        self.cancelled: set[str] = set()
        self.ended: dict[str, str] = {}
        self.errors: list[str] = []
        self._lock = threading.Lock()

    def submit(self, number: int) -> None:
        key = f"crash-{number}"
        annotations = {"run": f"{number % 4}s", "exit-code": "3" if number % 10 == 0 else "0"}
        retry = {"attempts": 2, "backoff_seconds": 0.5} if number % 20 == 0 else {}
        job_id = self._persist(lambda: self.product.submit(key=key, annotations=annotations, retry=retry))
        with self._lock:
            self.acknowledged[job_id] = key
        if number % 25 == 7:
            answer = self._persist(lambda: self.product.cancel(job_id))
            if answer.status_code == 202:
                self.cancelled.add(job_id)
            elif answer.status_code != 409:
                self.errors.append(answer.text)

    def _persist(self, call: Any) -> Any:
        def attempt() -> Any:
            try:
                return call()
            except httpx2.TransportError:
                return None

        return wait_until(attempt, what="the web server answers", timeout_seconds=120)

    def look(self) -> int:
        """Record which jobs have ended; return how many."""
        for job_id in list(self.acknowledged):
            if job_id not in self.ended:
                job = self._persist(functools.partial(self.product.job, job_id))
                if job["state"] in TERMINAL:
                    self.ended[job_id] = job["state"]
        return len(self.ended)


def kill_in_turn(product: Product, progress: Callable[[], int], *, kills: int) -> None:
    """Kill one component after the other; let the others make progress between two kills."""
    turns = itertools.cycle(product.components)
    for _ in range(kills):
        name = next(turns)
        product.kill(name)
        product.start(name)
        _await_progress(progress)


def _await_progress(progress: Callable[[], int]) -> None:
    before, patience = progress(), iter(range(30))
    wait_until(
        lambda: progress() > before + 5 or next(patience, None) is None,
        what="progress, or enough of waiting for it",
        pause_seconds=0.05,
    )


def test_nothing_is_lost_doubled_or_left_behind(kube_cluster: Cluster, fragile: Product) -> None:
    client = Client(fragile)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        submits = [pool.submit(client.submit, number) for number in range(JOBS)]
        kill_in_turn(fragile, client.look, kills=KILLS)
        for submit in submits:
            submit.result()
    fragile.wait_ready()
    wait_until(lambda: client.look() == JOBS, what="every job has ended", timeout_seconds=240, pause_seconds=0.5)
    left = wait_until_nothing_is_left(kube_cluster, fragile)
    jobs = {job_id: fragile.job(job_id) for job_id in client.acknowledged}
    history = History(
        acknowledged=client.acknowledged,
        jobs=jobs,
        transitions={job_id: fragile.transitions(job_id) for job_id in jobs},
        creates=creates_in(kube_cluster, fragile.namespace),
        left=left,
        terminal_seen=client.ended.items(),
        limits={"": MAX_IN_FLIGHT},
    )
    assert client.errors == []
    assert violations(history) == []
    assert len(history.creates) >= JOBS - len(client.cancelled)
    for job_id, job in jobs.items():
        if job_id not in client.cancelled:
            assert job["reason"] in ("Completed", "ApplicationExit"), job
            assert job["exit_code"] in (0, 3), job


def wait_until_nothing_is_left(cluster: Cluster, product: Product) -> list[str]:
    """Return what is left when the cleanup has had its time; an empty list is what a test wants."""
    rounds = iter(range(90))
    wait_until(
        lambda: not left_in_cluster(cluster, product.namespace) or next(rounds, None) is None,
        what="the cleanup ends",
        timeout_seconds=150,
        pause_seconds=1.0,
    )
    return left_in_cluster(cluster, product.namespace)
