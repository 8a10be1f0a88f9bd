"""Every component is replaced, one process after the other, as a Deployment does it, while jobs run and clients continue."""

from __future__ import annotations

import concurrent.futures
import contextlib
import functools
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest

from testbed.cluster import Cluster
from tests.cluster.conftest import left_in_cluster, running_product
from tests.support.balancer import Balancer, balancing
from tests.support.history import History, creates_in, violations
from tests.support.postgres import Server
from tests.support.product import COMPONENTS, TERMINAL, Product, free_port, wait_until

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(420)]

JOBS = 500
FOLLOWERS = 24
MAX_IN_FLIGHT = 120
REPLICAS = ("", "-b")


class Rollout:
    """The product with two processes of each component, behind one address."""

    def __init__(self, product: Product, balancer: Balancer) -> None:
        self.product = product
        self.balancer = balancer
        self.generation = 0
        self._urls: dict[str, str] = {f"web-server{REPLICAS[0]}": product.url}
        for name in COMPONENTS:
            self.start(name, REPLICAS[1])
        wait_until(lambda: balancer.ready == 2, what="both web servers are ready")

    def start(self, component: str, replica: str) -> None:
        if component != "web-server":
            self.product.start(component, replica=replica, metrics_port=0)
            ready = functools.partial(self._ready, component + replica)
            wait_until(ready, what=f"{component}{replica} is ready")
            return
        port = free_port()
        self.product.start(component, replica=replica, port=port)
        self._urls[component + replica] = f"http://127.0.0.1:{port}"
        before = self.balancer.ready
        self.balancer.backends = list(self._urls.values())
        wait_until(lambda: self.balancer.ready > before, what=f"{component}{replica} is ready")

    def _ready(self, name: str) -> bool:
        assert self.product.alive(name), self.product.log_file(name).read_text()[-3000:]
        return "database ok" in self.product.probe(name, "/readyz?verbose")

    def replace(self, component: str, replica: str) -> str:
        """Start another process first, then stop this one gently; return the replica that came."""
        self.generation += 1
        new = f"-{self.generation}"
        self.start(component, new)
        assert self.product.kill(component + replica, number=signal.SIGTERM, timeout_seconds=40) == 0
        self._urls.pop(component + replica, None)
        if component == "web-server":
            self.balancer.backends = list(self._urls.values())
        return new


class Client:
    """A client of one address that calls again after a connection error, and after nothing else."""

    def __init__(self, url: str, namespace: str) -> None:
        self.http = httpx2.Client(base_url=url, timeout=60, limits=httpx2.Limits(max_connections=64))
        self.namespace = namespace
        self.acknowledged: dict[str, str | None] = {}
        self.ended: dict[str, str] = {}
        self.refused: list[tuple[int, str]] = []
        self.reconnects = 0

    def submit(self, number: int) -> str:
        body = {
            "image": "registry.example.com/tool:1",
            "namespace": self.namespace,
            "annotations": {"kjr.test/run": f"{number % 16}s", "kjr.test/exit-code": "0"},
        }
        key = f"rolling-{number}"
        answer = self._call(lambda: self.http.post("/v1/jobs", json=body, headers={"Idempotency-Key": key}))
        self.acknowledged[str(answer["id"])] = key
        return str(answer["id"])

    def follow(self, number: int) -> None:
        """Submit a job and follow it to its end."""
        self.wait(self.submit(number))

    def wait(self, job_id: str) -> None:
        """Follow one job to its end, by long polls."""
        version = 0
        deadline = time.monotonic() + 240
        while job_id not in self.ended:
            assert time.monotonic() < deadline, job_id
            query = {"wait": "20s", "since": version}
            job = self._call(lambda query=query: self.http.get(f"/v1/jobs/{job_id}", params=query))  # type: ignore[misc]
            version = job["version"]
            if job["state"] in TERMINAL:
                self.ended[job_id] = job["state"]

    def read(self, path: str) -> Any:
        """Return what a path answers."""
        return self._call(lambda: self.http.get(path))

    def _call(self, call: Callable[[], httpx2.Response]) -> Any:
        deadline = time.monotonic() + 60
        while True:
            try:
                answer = call()
            except httpx2.TransportError:
                self.reconnects += 1
                assert time.monotonic() < deadline
                time.sleep(0.05)
                continue
            if not answer.is_success:
                self.refused.append((answer.status_code, answer.text))
                raise AssertionError(answer.text)
            return answer.json()


@pytest.fixture
def rollout(kube_cluster: Cluster, pg_server: Server) -> Iterator[Rollout]:
    with (
        running_product(
            kube_cluster,
            pg_server,
            cleanup_delay_seconds=2,
            sweep_seconds=0.2,
            lease_seconds=10,
            log_deadline_seconds=2,  # simulated nodes have no logs
            max_in_flight=MAX_IN_FLIGHT,
        ) as made,
        balancing(made.url) as balancer,
    ):
        yield Rollout(made, balancer)


def test_every_component_is_replaced_while_jobs_run(kube_cluster: Cluster, rollout: Rollout) -> None:
    product = rollout.product
    client = Client(rollout.balancer.url, product.namespace)
    with contextlib.closing(client.http), concurrent.futures.ThreadPoolExecutor(FOLLOWERS + 8) as pool:
        # Some follow their job from the start, by long polls; the others submit, and look at the end.
        following = [pool.submit(client.follow, number) for number in range(FOLLOWERS)]
        submits = [pool.submit(client.submit, number) for number in range(FOLLOWERS, JOBS)]
        began = time.monotonic()
        for component in COMPONENTS:
            for replica in REPLICAS:
                rollout.replace(component, replica)
        took_seconds = time.monotonic() - began
        concurrent.futures.wait(following)
        for future in following:
            future.result()
        for submit in submits:
            submit.result()
        unfinished = client.read(f"/v1/jobs?state=running,starting,queued&limit={JOBS}")["jobs"]
        for future in [pool.submit(client.wait, job_id) for job_id in client.acknowledged]:
            future.result()
        print(  # noqa: T201
            f"{2 * len(COMPONENTS)} processes replaced in {took_seconds:.0f} s; {len(unfinished)} of {JOBS} jobs had not ended by"
            f" then; {client.reconnects} connection errors at the clients"
        )
        check_history(kube_cluster, product, client)


def check_history(kube_cluster: Cluster, product: Product, client: Client) -> None:
    assert client.refused == []
    assert len(client.acknowledged) == JOBS
    assert set(client.ended.values()) == {"succeeded"}
    wait_until(
        lambda: not left_in_cluster(kube_cluster, product.namespace),
        what="nothing is left",
        timeout_seconds=90,
        pause_seconds=0.5,
    )
    jobs = {job_id: client.read(f"/v1/jobs/{job_id}") for job_id in client.ended}
    steps = {job_id: client.read(f"/v1/jobs/{job_id}/transitions")["transitions"] for job_id in client.ended}
    history = History(
        acknowledged=client.acknowledged,
        jobs=jobs,
        transitions=steps,
        creates=creates_in(kube_cluster, product.namespace),
        terminal_seen=client.ended.items(),
        limits={"": MAX_IN_FLIGHT},
    )
    assert violations(history) == []
    # A gentle stop hands everything over: nothing waited for a lease to run out, and nothing was handled twice for it.
    assert all(job["attempt"] == 1 for job in jobs.values())
