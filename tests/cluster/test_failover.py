"""Two processes of each component that has a leader: when the leader is frozen or killed, the other takes over, and the former
leader writes nothing more."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator

import pytest

from testbed.cluster import Cluster
from tests.cluster.conftest import left_in_cluster, running_product
from tests.support.history import History, creates_in, violations
from tests.support.postgres import Server, fetch, in_other_loop
from tests.support.product import Product, wait_until

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

LED = {
    "job-status-processor": "kjr_observations_total",
    "pod-events-processor": "kjr_observations_total",
    "sweeper": "kjr_checks_sent_total",
}
"""The components that lead or stand by, and the metric that counts what each writes."""

FAILOVER_SECONDS = 15.0
TEN_MINUTES = 600.0


@pytest.fixture(scope="module")
def paired(kube_cluster: Cluster, pg_server: Server) -> Iterator[Product]:
    """The product with a second process of each led component, whose clock is ten minutes ahead (F43)."""
    with running_product(
        kube_cluster,
        pg_server,
        cleanup_delay_seconds=1,
        reconcile_seconds=3,  # its grace period is shorter than the clock is ahead
        sweep_seconds=0.2,
        log_deadline_seconds=2,  # simulated nodes have no logs
        metrics_port=0,
    ) as made:
        for name in LED:
            made.start(name, replica="-b", clock_ahead_seconds=TEN_MINUTES)
        wait_until(lambda: all(leader(made, name) for name in LED), what="each component is led")
        wait_until(lambda: all(standby(made, name) for name in LED), what="each has a standby that is ready")
        yield made


def leader(product: Product, component: str) -> str:
    """Return the process that holds a component's lease, "" when it is none of ours that lives."""
    statement = "SELECT holder FROM component_leases WHERE component = $1 AND expires_at > clock_timestamp()"
    rows = in_other_loop(fetch(product.database_url, statement, component))
    pid = int(rows[0]["holder"].rpartition("/")[2]) if rows else 0
    return next((name for name in (component, f"{component}-b") if product.pid(name) == pid), "")


def standby(product: Product, component: str) -> str:
    """Return the process of a component that is ready and stands by."""
    for name in (component, f"{component}-b"):
        if f"{component} standby" in product.probe(name, "/readyz?verbose"):
            return name
    return ""


def submit(product: Product, count: int) -> list[str]:
    return [product.submit(annotations={"run": f"{number % 5}s", "exit-code": "0"}) for number in range(count)]


def await_end(cluster: Cluster, product: Product, ids: list[str]) -> None:
    """Wait until these jobs have ended and nothing is left; then hold the run against the promises."""
    jobs = {job_id: product.wait_for(job_id, timeout_seconds=90) for job_id in ids}
    assert {job["state"] for job in jobs.values()} == {"succeeded"}
    wait_until(lambda: not left_in_cluster(cluster, product.namespace), what="nothing is left", pause_seconds=0.5)
    history = History(
        acknowledged=dict.fromkeys(ids),
        jobs=jobs,
        transitions={job_id: product.transitions(job_id) for job_id in ids},
        creates=creates_in(cluster, product.namespace),
    )
    assert violations(history) == []


@pytest.mark.parametrize("component", LED)
def test_f42_a_leader_that_is_stopped_and_wakes_writes_nothing(
    kube_cluster: Cluster, paired: Product, component: str
) -> None:
    metric = LED[component]
    old, new = leader(paired, component), wait_until(lambda: standby(paired, component), what="there is a standby")
    assert old
    assert old != new
    ids = submit(paired, 30)
    wait_until(lambda: paired.metric(old, metric) > 5, what="the leader is in the middle of work")
    before = paired.metric(new, metric)
    stopped_at = time.monotonic()
    paired.send_signal(old, signal.SIGSTOP)
    ids += submit(paired, 30)
    wait_until(lambda: paired.metric(new, metric) > before, what="the standby writes", timeout_seconds=30)
    took_seconds = time.monotonic() - stopped_at
    print(f"{component}: the standby wrote {took_seconds:.1f} s after SIGSTOP of the leader")  # noqa: T201
    assert took_seconds < FAILOVER_SECONDS
    assert leader(paired, component) == new
    paired.send_signal(old, signal.SIGCONT)
    wait_until(lambda: standby(paired, component) == old, what="who led before stands by", timeout_seconds=20)
    # It tried to write what it had read before, and each try was refused.
    assert paired.metric(old, "kjr_fenced_writes_total") >= 1
    assert '"event": "a write was refused"' in paired.log_file(old).read_text()
    assert paired.metric(old, "kjr_lease_held") == 0
    assert paired.metric(new, "kjr_lease_held") == 1
    await_end(kube_cluster, paired, ids)


def test_a_leader_that_is_killed_is_followed_at_once(kube_cluster: Cluster, paired: Product) -> None:
    old = {component: leader(paired, component) for component in LED}
    new = {component: standby(paired, component) for component in LED}
    assert all((*old.values(), *new.values()))
    ids = submit(paired, 20)
    for component in LED:
        paired.kill(old[component])
        killed_at = time.monotonic()
        wait_until(lambda c=component: leader(paired, c) == new[c], what="the standby leads", pause_seconds=0.02)  # type: ignore[misc]
        print(f"{component}: the standby led {time.monotonic() - killed_at:.1f} s after SIGKILL")  # noqa: T201
        assert time.monotonic() - killed_at < 5.0  # the end of its connection is the signal, not the end of the lease
    await_end(kube_cluster, paired, ids)
    for component in LED:
        paired.start(component, replica=old[component].removeprefix(component))
        wait_until(lambda c=component: standby(paired, c) == old[c], what="it stands by when it is back")  # type: ignore[misc]
