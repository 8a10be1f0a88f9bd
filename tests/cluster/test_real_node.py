"""Jobs on a real kubelet: containers that run, print, fail, run out of memory, and get SIGTERM."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from testbed.cluster import Cluster
from testbed.realnode import RealNode
from tests.cluster.conftest import left_in_cluster
from tests.support.product import Product, wait_until

pytestmark = [pytest.mark.cluster, pytest.mark.realnode, pytest.mark.timeout(240)]

REAL: dict[str, Any] = {
    "image": "localhost/busybox:1",
    "node_selector": {"kjr.test/real": "1"},
    "tolerations": [{"key": "kjr.test/real", "operator": "Exists"}],
}


@pytest.fixture(scope="module", autouse=True)
def node(kube_real_node: RealNode) -> RealNode:
    """The real node joins the shared cluster for this module."""
    return kube_real_node


def shell(product: Product, script: str, **spec: Any) -> str:
    return product.submit(**(REAL | {"command": ["sh", "-c", script]} | spec))


def log_of(product: Product, job_id: str) -> str:
    answer = product.http.get(f"/v1/jobs/{job_id}/logs")
    assert answer.status_code == 200, answer.text
    return answer.text


def test_exit_0_with_its_log(product: Product) -> None:
    script = 'echo "hello $NAME"; echo "literal: $(echo $((1+1))) $$ ${NAME}" | sed "s/ [0-9]* / PID /"'
    job_id = shell(product, script, env={"NAME": "world $(HOME) $$"}, working_dir="/tmp")
    job = product.wait_for(job_id, timeout_seconds=120)
    assert (job["state"], job["exit_code"]) == ("succeeded", 0)
    assert log_of(product, job_id).splitlines()[0] == "hello world $(HOME) $$", "text arrives as it was submitted"


def test_the_trace_of_a_submit_reaches_the_container(product: Product) -> None:
    parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    job_id = product.submit(**REAL, command=["sh", "-c", "echo $TRACEPARENT"], traceparent=parent)
    assert product.wait_for(job_id, timeout_seconds=120)["state"] == "succeeded"
    assert log_of(product, job_id) == f"{parent}\n"


def test_exit_3(product: Product) -> None:
    job_id = shell(product, "echo bye; exit 3")
    job = product.wait_for(job_id, timeout_seconds=120)
    assert (job["state"], job["reason"], job["exit_code"]) == ("failed", "ApplicationExit", 3)
    assert log_of(product, job_id) == "bye\n"


def test_a_followed_log_arrives_while_the_job_runs_and_ends_with_it(product: Product) -> None:
    job_id = shell(product, "for i in 1 2 3; do echo line $i; sleep 0.3; done")
    with product.http.stream("GET", f"/v1/jobs/{job_id}/logs", params={"follow": "true"}) as answer:
        assert answer.status_code == 200
        text = "".join(answer.iter_text())
    assert text.splitlines() == ["line 1", "line 2", "line 3"]
    assert product.wait_for(job_id)["state"] == "succeeded"


def test_a_command_that_is_not_there(product: Product) -> None:
    job = product.wait_for(product.submit(**(REAL | {"command": ["/no/such/program"]})), timeout_seconds=120)
    assert (job["state"], job["reason"]) == ("failed", "CommandNotFound")
    assert "/no/such/program" in job["explanation"]


def test_out_of_memory(product: Product) -> None:
    script = "x=$(head -c 200000000 /dev/zero | tr '\\0' x); echo $x | wc -c"
    job = product.wait_for(shell(product, script, resources={"memory": "32Mi"}), timeout_seconds=120)
    assert (job["state"], job["reason"]) == ("failed", "OutOfMemory")
    assert job["exit_code"] == 137


def test_a_cancel_sends_sigterm_and_nothing_is_left(kube_cluster: Cluster, product: Product) -> None:
    job_id = shell(product, "trap 'exit 7' TERM; while true; do sleep 0.1; done", stop_grace_seconds=20)
    product.wait_for(job_id, "running", timeout_seconds=120)
    product.cancel(job_id, reason="enough")
    job = product.wait_for(job_id, timeout_seconds=60)
    assert (job["state"], job["reason"]) == ("cancelled", "Cancelled")
    assert left_in_cluster(kube_cluster, product.namespace, job_id) == []
    [attempt] = product.attempts(job_id)
    assert "trap" not in str(attempt), "an attempt shows facts, never the spec"


def test_the_run_timeout(kube_cluster: Cluster, product: Product) -> None:
    job_id = shell(product, "sleep 1000", timeouts={"run_seconds": 2}, stop_grace_seconds=1)
    job = product.wait_for(job_id, timeout_seconds=120)
    assert (job["state"], job["reason"]) == ("failed", "RunTimeout")
    assert left_in_cluster(kube_cluster, product.namespace, job_id) == []


def test_a_program_that_ends_just_before_its_run_timeout_has_succeeded(product: Product) -> None:
    """The Job of a container is `Complete` seconds after the container has ended."""
    job_id = shell(product, "sleep 5; echo saved", timeouts={"run_seconds": 6})
    job = product.wait_for(job_id, timeout_seconds=120)
    assert (job["state"], job["reason"], job["exit_code"]) == ("succeeded", "Completed", 0)
    assert log_of(product, job_id) == "saved\n"


class _EmptyRegistry(http.server.BaseHTTPRequestHandler):
    """A registry that answers, and has nothing."""

    def do_GET(self) -> None:
        status = 200 if self.path == "/v2/" else 404
        body = b"{}" if status == 200 else b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}'
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET  # noqa: N815 - the name that http.server looks for

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def empty_registry() -> Iterator[str]:
    """The address of a registry on loopback that knows no image."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _EmptyRegistry)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"localhost:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_missing_image(kube_cluster: Cluster, product: Product, empty_registry: str) -> None:
    job_id = product.submit(**(REAL | {"image": f"{empty_registry}/team/none:1", "command": ["true"]}))
    job = product.wait_for(job_id, timeout_seconds=60)
    assert (job["state"], job["reason"]) == ("failed", "ImageNotFound")
    assert "team/none:1" in job["explanation"]
    wait_until(lambda: not left_in_cluster(kube_cluster, product.namespace, job_id), what="nothing is left")


def test_a_missing_secret(product: Product) -> None:
    job_id = shell(product, "true", secrets=[{"env": "TOKEN", "name": "no-such-secret", "key": "k"}])
    job = product.wait_for(job_id, timeout_seconds=60)
    assert (job["state"], job["reason"]) == ("failed", "ConfigMissing")
    assert "no-such-secret" in job["explanation"]
