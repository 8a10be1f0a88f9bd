"""Faults that end in time: each would be a failure if it lasted. The job succeeds, and no attempt of the user's budget is spent.

The graces are the defaults, so a fault may last as long as in real clusters. The test makes faults as short as still proves
that they were waited out; `KJR_TEST_FULL_TIMES=1` makes them as long as people see them.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import os
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from testbed import manifests
from testbed.cluster import Cluster
from testbed.realnode import RealNode
from tests.cluster.conftest import running_product
from tests.support.kubernetes import install, install_into
from tests.support.postgres import Server
from tests.support.product import wait_until
from tests.support.registry import Registry
from tests.support.sightings import Sightings
from tests.support.signals import Bed, wait_for_end

FULL = bool(os.environ.get("KJR_TEST_FULL_TIMES"))
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900 if FULL else 240)]

RATE_LIMIT, SECRET, QUOTA, CACHE, SCALE_UP, PUSH = (60, 20, 60, 60, 180, 8) if FULL else (12, 8, 12, 10, 15, 8)
"""How long each fault lasts, in seconds. The kubelet pulls at about 0, 10 and 30 s: what comes after 10 s misses its grace."""
REAL: dict[str, Any] = {
    "image": "localhost/busybox:1",
    "command": ["true"],
    "node_selector": {"kjr.test/real": "1"},
    "tolerations": [{"key": "kjr.test/real", "operator": "Exists"}],
}

End = Callable[[], object]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fault:
    """One fault: how long it lasts, what the job must say meanwhile, and how to begin it.

    `begin` gives the spec of the job that meets it, and what ends it; None when it ends by itself.
    """

    name: str
    seconds: float
    says: str
    begin: Callable[[Bed, Registry], tuple[Mapping[str, Any], End | None]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ended:
    """What became of a fault's job."""

    job: dict[str, Any]
    attempts: list[dict[str, Any]]
    said: set[str]


# --- On simulated nodes -------------------------------------------------------------------------------------------------------


def acted(seconds: float, **script: str) -> Callable[[Bed, Registry], tuple[Mapping[str, Any], None]]:
    """A pod that acts out its fault, and its end, by script."""
    given = {key.replace("_", "-"): value for key, value in script.items()} | {"recover": f"{seconds}s"}
    return lambda bed, registry: ({"annotations": given}, None)


def pods_quota(bed: Bed, registry: Registry) -> tuple[Mapping[str, Any], End]:
    """Another pod takes all that the quota allows, and then ends."""
    namespace = f"{bed.namespace}-pods"
    _occupy(bed, namespace, "pods=1")
    return {"namespace": namespace}, lambda: _leave(bed, namespace)


def jobs_quota(bed: Bed, registry: Registry) -> tuple[Mapping[str, Any], End]:
    """Another Job takes all that the quota allows, and is then deleted."""
    namespace = f"{bed.namespace}-jobs"
    _occupy(bed, namespace, "count/jobs.batch=1")
    return {"namespace": namespace}, lambda: _leave(bed, namespace)


def _occupy(bed: Bed, namespace: str, hard: str) -> None:
    bed.cluster.kubectl("create", "quota", "few", "-n", namespace, f"--hard={hard}")
    occupant = manifests.job("occupant", script={"run": "1h"})
    bed.cluster.api()("POST", f"/apis/batch/v1/namespaces/{namespace}/jobs", occupant).require(201)
    resource = hard.partition("=")[0]

    def full() -> bool:
        answer = bed.cluster.api()("GET", f"/api/v1/namespaces/{namespace}/resourcequotas/few").require(200)
        return bool(answer.get("status", {}).get("used", {}).get(resource) == "1")

    wait_until(full, what=f"the quota of {namespace} is used up")


def _leave(bed: Bed, namespace: str) -> None:
    bed.cluster.kubectl("delete", "job", "occupant", "-n", namespace)


def more_room(bed: Bed, registry: Registry) -> tuple[Mapping[str, Any], End]:
    """No node is large enough until one more comes."""
    name = f"large-{bed.namespace}"
    return {"resources": {"cpu": "2000"}}, lambda: bed.cluster.add_node(name, cpu="3000")


def new_pool(bed: Bed, registry: Registry) -> tuple[Mapping[str, Any], End]:
    """No node has the label until a pool is scaled up from none."""
    name, labels = f"pool-{bed.namespace}", {"pool": bed.namespace}
    return {"node_selector": labels}, lambda: bed.cluster.add_node(name, labels=labels)


ON_SIMULATED_NODES = (
    Fault(
        name="rate limited",
        seconds=RATE_LIMIT,
        says="limit on image pulls",
        begin=acted(RATE_LIMIT, mode="imagepull", image_error="429 Too Many Requests - toomanyrequests: rate limit"),
    ),
    Fault(
        name="registry down",
        seconds=RATE_LIMIT,
        says="does not work as it should",
        begin=acted(RATE_LIMIT, mode="imagepull", image_error="dial tcp 10.0.0.9:443: i/o timeout"),
    ),
    Fault(
        name="secret cache late",
        seconds=CACHE,
        says="retries by itself",
        begin=acted(
            CACHE,
            mode="waiting",
            waiting_reason="CreateContainerConfigError",
            waiting_message="failed to sync secret cache: timed out waiting for the condition",
        ),
    ),
    Fault(
        name="runtime slow",
        seconds=CACHE,
        says="did not start container main in time",
        begin=acted(
            CACHE, mode="waiting", waiting_reason="CreateContainerError", waiting_message="context deadline exceeded"
        ),
    ),
    Fault(name="pods quota full", seconds=QUOTA, says="quota of the namespace is used up", begin=pods_quota),
    Fault(name="jobs quota full", seconds=QUOTA, says="exceeded quota", begin=jobs_quota),
    Fault(name="autoscaler adds a node", seconds=SCALE_UP, says="Insufficient cpu", begin=more_room),
    Fault(name="autoscaler adds a pool", seconds=SCALE_UP, says="No node matches", begin=new_pool),
)


# --- On the real kubelet ------------------------------------------------------------------------------------------------------


def refused(status: int, seconds: float) -> Callable[[Bed, Registry], tuple[Mapping[str, Any], None]]:
    """A registry that refuses the image for a while."""

    def begin(bed: Bed, registry: Registry) -> tuple[Mapping[str, Any], None]:
        return REAL | {"image": registry.refuse(f"for-a-while-{status}", status, for_seconds=seconds)}, None

    return begin


def secret_later(bed: Bed, registry: Registry) -> tuple[Mapping[str, Any], End]:
    spec = REAL | {"secrets": [{"env": "TOKEN", "name": "late", "key": "k"}]}
    return spec, lambda: _create(bed, "secret", "generic", "late")


def volume_later(bed: Bed, registry: Registry) -> tuple[Mapping[str, Any], End]:
    spec = REAL | {"volumes": [{"name": "conf", "mount_path": "/conf", "config_map": "late"}]}
    return spec, lambda: _create(bed, "configmap", "late")


def _create(bed: Bed, *what: str) -> None:
    bed.cluster.kubectl("create", *what, "-n", bed.namespace, "--from-literal=k=v")


ON_THE_REAL_KUBELET = (
    Fault(
        name="rate limited",
        seconds=RATE_LIMIT,
        says="limit on image pulls",
        begin=refused(429, RATE_LIMIT),
    ),
    Fault(name="registry down", seconds=RATE_LIMIT, says="503 Service Unavailable", begin=refused(503, RATE_LIMIT)),
    Fault(name="image pushed late", seconds=PUSH, says="does not exist", begin=refused(404, PUSH)),
    Fault(name="secret made late", seconds=SECRET, says='secret "late" not found', begin=secret_later),
    Fault(
        name="mounted configuration made late", seconds=SECRET, says='configmap "late" not found', begin=volume_later
    ),
)


# --- The play -----------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bed(kube_cluster: Cluster, pg_server: Server) -> Iterator[Bed]:
    """The product as it comes, in a namespace and in two with quotas."""
    namespace, configs = install(kube_cluster)
    others = [install_into(kube_cluster, f"{namespace}-{kind}", like=namespace) for kind in ("pods", "jobs")]
    namespaces = ",".join([namespace, *others])
    with (
        running_product(kube_cluster, pg_server, installed=(namespace, configs), namespaces=namespaces) as product,
        Sightings(kube_cluster) as sightings,
    ):
        yield Bed(cluster=kube_cluster, product=product, sightings=sightings, namespace=namespace)


def play(bed: Bed, faults: tuple[Fault, ...]) -> dict[str, Ended]:
    """Let all jobs meet their faults at once, end each fault in its time, and return what became of the jobs by name."""
    with Registry() as registry:
        ids: dict[str, str] = {}
        ends: list[tuple[float, End]] = []
        for fault in faults:
            spec, end = fault.begin(bed, registry)
            ids[fault.name] = bed.product.submit(**({"namespace": bed.namespace} | dict(spec)))
            # From its own submit on: to begin them all takes seconds.
            ends.append((time.monotonic() + fault.seconds, end or (lambda: None)))
        said: dict[str, set[str]] = {fault.name: set() for fault in faults}

        def listen() -> None:
            for fault in faults:
                said[fault.name].add(str(bed.product.job(ids[fault.name])["explanation"]))

        for due, end in sorted(ends, key=lambda each: each[0]):
            while time.monotonic() < due:
                listen()
                time.sleep(0.3)
            end()
        deadline = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=400 if FULL else 120)
        for job_id in ids.values():
            wait_for_end(bed.product, job_id, deadline)
        return {
            name: Ended(job=bed.product.job(job_id), attempts=bed.product.attempts(job_id), said=said[name])
            for name, job_id in ids.items()
        }


def check(fault: Fault, ended: Ended) -> None:
    job = ended.job
    assert (job["state"], job["reason"]) == ("succeeded", "Completed"), f"{job} {ended.said}"
    assert len(ended.attempts) == 1, f"more than one attempt: {[attempt['verdict'] for attempt in ended.attempts]}"
    assert any(fault.says in text for text in ended.said), f"{fault.says!r} was not said, but {ended.said}"
    created, finished = (dt.datetime.fromisoformat(job[key]) for key in ("created_at", "finished_at"))
    assert (finished - created).total_seconds() >= fault.seconds - 1, "the job never met the fault"


@pytest.fixture(scope="module")
def on_simulated_nodes(bed: Bed) -> dict[str, Ended]:
    return play(bed, ON_SIMULATED_NODES)


@pytest.fixture(scope="module")
def on_the_real_kubelet(bed: Bed, kube_real_node: RealNode) -> dict[str, Ended]:
    return play(bed, ON_THE_REAL_KUBELET)


@pytest.mark.parametrize("fault", ON_SIMULATED_NODES, ids=lambda fault: fault.name)
def test_a_fault_that_ends(fault: Fault, on_simulated_nodes: dict[str, Ended]) -> None:
    check(fault, on_simulated_nodes[fault.name])


@pytest.mark.realnode
@pytest.mark.parametrize("fault", ON_THE_REAL_KUBELET, ids=lambda fault: fault.name)
def test_a_fault_that_ends_on_a_real_kubelet(fault: Fault, on_the_real_kubelet: dict[str, Ended]) -> None:
    check(fault, on_the_real_kubelet[fault.name])
