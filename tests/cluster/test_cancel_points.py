"""A cancel at every point of the life of a job, fifty times each: one winner, the right record, and nothing left.

All jobs of all points are in flight together, so that the product and the cluster are busy when the cancels come. Each point
lists its allowed ends: a cancel wins, except where the program may end first, and then the record says so.
"""

from __future__ import annotations

import datetime as dt
import functools
import json
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from kube_job_runner.domain import names
from testbed.cluster import Cluster
from tests.cluster.conftest import running_product
from tests.support.cancelling import Campaign
from tests.support.history import History, violations
from tests.support.kubernetes import install, rbac
from tests.support.mirror import Mirror, Shown
from tests.support.postgres import Server
from tests.support.product import TERMINAL, Product, wait_until

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

TIMES = 50
FOR_EVER = {"script": {"run": "1h"}}
WAITING_FOR_RETRY = "waiting-for-retry"
PULLING = ("ErrImagePull", "ImagePullBackOff")  # the first lasts two seconds, and a watch may miss it
Arrange = Callable[[Campaign, list[str]], None]


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """A point of the life of a job: how to bring jobs there and cancel them, and what may come of it.

    `ends` are the states that a job may end in; `creates` is how many cluster jobs it had: none, one, or either.
    """

    name: str
    spec: dict[str, Any] = msgspec.field(default_factory=lambda: FOR_EVER)
    arrange: Arrange
    namespace: str = ""
    ends: frozenset[str] = frozenset({"cancelled"})
    creates: tuple[int, ...] = (1,)


def at_once(campaign: Campaign, ids: list[str]) -> None:
    for job_id in ids:
        campaign.go(campaign.cancel, job_id)


def soon(campaign: Campaign, ids: list[str]) -> None:
    """Cancel within 50 ms: the create is about to be sent, on its way, or just answered."""
    for job_id in ids:
        campaign.go(campaign.cancel, job_id, after=(0.0, 0.05))


def when(moment: Callable[[Shown], bool], *, after: tuple[float, float] = (0.0, 0.0)) -> Arrange:
    """Cancel at a moment that the API server shows, and a random time after."""
    return lambda campaign, ids: campaign.cancel_when(ids, moment, after=after)


def when_shown(moment: Callable[[Any], bool]) -> Arrange:
    """Cancel when the product itself shows the job so."""
    return lambda campaign, ids: campaign.call_when(ids, moment, lambda job_id: campaign.go(campaign.cancel, job_id))


def twice(campaign: Campaign, ids: list[str]) -> None:
    """Cancel; when the pod has got SIGTERM and does not end, cancel again without grace."""

    def harder(job_id: str) -> None:
        job = campaign.product.job(job_id)
        assert job["state"] == "stopping", f"its pod is still there: {job}"
        kill(campaign.product, job_id)

    def first(job_id: str) -> None:
        campaign.cancel(job_id)
        campaign.mirror.when(job_id, lambda shown: shown.deleting, lambda: campaign.go(harder, job_id))

    for job_id in ids:
        campaign.mirror.when(job_id, running, functools.partial(campaign.go, first, job_id))


def kill(product: Product, job_id: str) -> None:
    answer = product.http.post(f"/v1/jobs/{job_id}:cancel", json={"reason": "harder", "grace_seconds": 0})
    assert answer.status_code == 202, answer.text


def with_another(act: Callable[[Mirror, dict[str, Any]], None], *, at_once: bool = True) -> Arrange:
    """Cancel while somebody else does something to the running cluster job, or once that has shown its effect."""

    def meddle(campaign: Campaign, job_id: str, found: dict[str, Any]) -> None:
        act(campaign.mirror, found)

    def start(campaign: Campaign, number: int, job_id: str) -> None:
        [found] = campaign.mirror.shown(job_id).jobs.values()
        campaign.go(meddle, campaign, job_id, found)
        if at_once or number % 2:
            campaign.go(campaign.cancel, job_id)
        else:
            campaign.cancel_when([job_id], lambda shown: shown.condition("Job", "Suspended") == "True")

    def arrange(campaign: Campaign, ids: list[str]) -> None:
        for number, job_id in enumerate(ids):
            act = functools.partial(campaign.go, start, campaign, number, job_id)
            campaign.mirror.when(job_id, running, act)

    return arrange


def job_path(found: dict[str, Any]) -> str:
    return f"/apis/batch/v1/namespaces/{found['metadata']['namespace']}/jobs/{found['metadata']['name']}"


def delete(propagation: str) -> Callable[[Mirror, dict[str, Any]], None]:
    """As kubectl delete does, in the background: the Job goes at once, its pods follow. Or never, as with --cascade=orphan."""
    return functools.partial(_delete, propagation=propagation)


def _delete(mirror: Mirror, found: dict[str, Any], *, propagation: str) -> None:
    body = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": propagation}
    answer = mirror.http.request("DELETE", job_path(found), json=body)
    assert answer.status_code in (200, 404), answer.text


def suspend(mirror: Mirror, found: dict[str, Any]) -> None:
    headers = {"Content-Type": "application/merge-patch+json"}
    answer = mirror.http.patch(job_path(found), content=json.dumps({"spec": {"suspend": True}}), headers=headers)
    assert answer.status_code in (200, 404), answer.text


def waits_for(*reasons: str) -> Callable[[Shown], bool]:
    return lambda shown: shown.waiting in reasons


def running(shown: Shown) -> bool:
    return shown.phase == "Running"


ALONE = [
    Point(name="right-after-submit", arrange=at_once, creates=(0, 1)),
    Point(
        name="create-in-flight",
        arrange=soon,
        creates=(0, 1),
    ),
]
"""Points that need the processor to take jobs at once: nothing else is in flight."""

TOGETHER = [
    Point(
        name=WAITING_FOR_RETRY,
        spec={"script": {"exit-code": "1"}, "retry": {"attempts": 3, "backoff_seconds": 600}},
        arrange=when_shown(lambda job: job["state"] == "queued" and job["attempt"] == 1),
    ),
    Point(
        name="create-postponed-by-quota",
        namespace="no-jobs",
        arrange=when_shown(lambda job: "quota" in (job["explanation"] or "")),
        creates=(0,),
    ),
    Point(
        name="job-without-pod",
        namespace="no-pods",
        arrange=when(lambda shown: bool(shown.jobs), after=(0.5, 1.5)),
    ),
    Point(
        name="unschedulable",
        spec={"node_selector": {"no": "where"}},
        arrange=when(lambda shown: shown.condition("Pod", "PodScheduled") == "False"),
    ),
    Point(name="container-creating", spec={"script": {"mode": "stuck"}}, arrange=when(waits_for("ContainerCreating"))),
    Point(name="image-pull-failing", spec={"script": {"mode": "imagepull"}}, arrange=when(waits_for(*PULLING))),
    Point(
        name="image-pull-back-off", spec={"script": {"mode": "imagepull"}}, arrange=when(waits_for("ImagePullBackOff"))
    ),
    Point(
        name="config-error",
        spec={
            "script": {
                "mode": "waiting",
                "waiting-reason": "CreateContainerConfigError",
                "waiting-message": 'secret "db" not found',
            }
        },
        arrange=when(waits_for("CreateContainerConfigError")),
    ),
    Point(
        name="about-to-start",
        spec={"script": {"start": "1s", "run": "1h"}},
        arrange=when(lambda shown: shown.condition("Pod", "PodScheduled") == "True", after=(0.7, 1.3)),
    ),
    Point(name="reported-running", arrange=when_shown(lambda job: job["state"] == "running")),
    Point(name="running-for-a-while", arrange=when(running, after=(2.0, 4.0))),
    Point(
        name="ignoring-sigterm",
        spec={"script": {"run": "1h", "grace": "1h"}, "stop_grace_seconds": 3600},
        arrange=twice,
    ),
    Point(
        name="as-its-container-ends",
        spec={"script": {"run": "1s"}},
        arrange=when(running, after=(0.8, 1.2)),
        ends=frozenset({"cancelled", "succeeded"}),
    ),
    Point(
        name="ended-not-yet-complete",
        spec={"script": {"run": "1s"}},
        arrange=when(lambda shown: shown.phase == "Succeeded"),
        ends=frozenset({"cancelled", "succeeded"}),
    ),
    Point(
        name="just-ended",
        spec={"script": {"run": "1s"}},
        arrange=when_shown(lambda job: job["state"] in TERMINAL),
        ends=frozenset({"succeeded"}),
    ),
    Point(
        name="stopping-for-run-timeout",
        spec={"script": {"run": "1h", "grace": "3s"}, "timeouts": {"run_seconds": 1}},
        arrange=when_shown(lambda job: job["state"] == "stopping"),
        ends=frozenset({"failed"}),
    ),
    Point(
        name="deleted-by-somebody-else",
        spec={"script": {"run": "1h", "grace": "1s"}},
        arrange=with_another(delete("Background")),
        ends=frozenset({"cancelled", "failed"}),
    ),
    Point(
        name="orphaned-by-somebody-else",
        spec={"script": {"run": "1h", "grace": "1s"}},
        arrange=with_another(delete("Orphan")),
        ends=frozenset({"cancelled", "failed"}),
    ),
    Point(
        name="suspended-by-somebody-else",
        arrange=with_another(suspend, at_once=False),
    ),
]
STOPPED = Point(name="processor-stopped", arrange=at_once, creates=(0,))
FULL_QUEUE = {"queue": "narrow"}
FULL = Point(name="behind-a-full-queue", spec=FOR_EVER | FULL_QUEUE, arrange=at_once, creates=(0,))
POINTS = [STOPPED, FULL, *ALONE, *TOGETHER]


class Outcome(msgspec.Struct, kw_only=True):
    """What the tests judge."""

    campaign: Campaign
    history: History
    creates: Counter[str]


@pytest.fixture(scope="module")
def outcome(kube_cluster: Cluster, pg_server: Server, request: pytest.FixtureRequest) -> Iterator[Outcome]:
    """Run the campaign: every point, once for all tests of this module."""
    namespace, configs = install(kube_cluster)
    more = {name: f"{namespace}-{name}" for name in ("no-jobs", "no-pods")}
    for each in more.values():
        kube_cluster.create_namespace(each)
        documents = rbac(accounts_namespace=namespace.replace("jobs-", "kjr-"), jobs_namespace=each)
        kube_cluster.apply(json.dumps({"apiVersion": "v1", "kind": "List", "items": documents}))
    kube_cluster.kubectl("create", "quota", "none", "-n", more["no-jobs"], "--hard=count/jobs.batch=0")
    kube_cluster.kubectl("create", "quota", "none", "-n", more["no-pods"], "--hard=pods=0")
    product = running_product(
        kube_cluster,
        pg_server,
        installed=(namespace, configs),
        namespaces=",".join((namespace, *more.values())),
        image_grace_seconds=300,
        config_grace_seconds=300,
        cleanup_delay_seconds=3,
        log_deadline_seconds=3,  # simulated nodes have no logs
        lease_seconds=10,
        sweep_seconds=0.2,
        max_in_flight=5000,
        queue_limits="narrow=1",
    )
    with product as made, Mirror(kube_cluster, made.instance) as mirror, Campaign(made, mirror) as campaign:
        while_the_processor_stands(campaign)
        while_the_queue_is_full(campaign)
        for point in ALONE:
            run(campaign, more, point)
        run(campaign, more, *TOGETHER)
        campaign.read()
        report(kube_cluster, campaign, request)
        yield judged(kube_cluster, campaign)


def run(campaign: Campaign, namespaces: dict[str, str], *points: Point) -> None:
    for point in points:
        place = {"namespace": namespaces[point.namespace]} if point.namespace else {}
        point.arrange(campaign, campaign.submit(point.name, TIMES, point.spec | place))
    campaign.settle(*(point.name for point in points), timeout_seconds=240)


def while_the_processor_stands(campaign: Campaign) -> None:
    """Submit and cancel while nobody reads the queue."""
    campaign.product.send_signal("messages-processor", signal.SIGSTOP)
    ids = campaign.submit(STOPPED.name, TIMES, STOPPED.spec)
    at_once(campaign, ids)
    wait_until(lambda: set(ids) <= campaign.asked.keys(), what="every cancel is answered")
    assert {campaign.product.job(job_id)["state"] for job_id in ids[::10]} == {"queued"}
    campaign.product.send_signal("messages-processor", signal.SIGCONT)
    campaign.settle(STOPPED.name, timeout_seconds=60)


def while_the_queue_is_full(campaign: Campaign) -> None:
    """Submit and cancel while the queue runs as many jobs as it may: one."""
    product = campaign.product
    [first] = campaign.submit("fills-the-queue", 1, FOR_EVER | FULL_QUEUE)
    product.wait_for(first, "running")
    ids = campaign.submit(FULL.name, TIMES, FULL.spec)
    at_once(campaign, ids)
    campaign.settle(FULL.name, timeout_seconds=60)
    campaign.cancel(first)
    campaign.settle("fills-the-queue", timeout_seconds=60)


def report(cluster: Cluster, campaign: Campaign, request: pytest.FixtureRequest) -> None:
    """Say how every point went, whether or not a test fails."""
    deletes: dict[str, dt.datetime] = {}
    for event in cluster.audit_events(verb="delete", resource="jobs"):
        found = names.attempt_of_job(event["objectRef"]["name"])
        if found is not None:
            deletes.setdefault(str(found[0]), dt.datetime.fromisoformat(event["requestReceivedTimestamp"]))
    reporter = request.config.pluginmanager.getplugin("terminalreporter")
    for point in POINTS:
        line = campaign.report(point.name, deletes)
        if reporter is not None:
            reporter.write_line(line)


def judged(cluster: Cluster, campaign: Campaign) -> Outcome:
    """Gather the evidence: the rest of the cleanup, the histories, the audit log."""
    rounds = iter(range(60))
    wait_until(
        lambda: not campaign.left() or next(rounds, None) is None,
        what="the cleanup ends",
        timeout_seconds=90,
        pause_seconds=0.5,
    )
    product = campaign.product
    creates = [
        event
        for event in cluster.audit_events(verb="create", resource="jobs")
        if event["objectRef"]["namespace"].startswith(product.namespace) and event["responseStatus"].get("code") == 201
    ]
    history = History(
        acknowledged=dict.fromkeys(campaign.jobs),
        jobs=campaign.jobs,
        transitions=dict(zip(campaign.jobs, campaign.map(product.transitions, campaign.jobs), strict=True)),
        creates=creates,
        left=campaign.left(),
        terminal_seen=campaign.terminal_seen,
    )
    made = [names.attempt_of_job(event["objectRef"]["name"]) for event in creates]
    return Outcome(
        campaign=campaign,
        history=history,
        creates=Counter(str(found[0]) for found in made if found is not None),
    )


def test_every_promise_holds(outcome: Outcome) -> None:
    assert violations(outcome.history) == []


def test_nothing_was_left_of_a_job_when_it_was_called_cancelled(outcome: Outcome) -> None:
    assert outcome.campaign.lies == []


@pytest.mark.parametrize("point", POINTS, ids=lambda point: point.name)
class TestPoint:
    """What must hold for each job of a point."""

    def test_one_winner_and_the_right_record(self, outcome: Outcome, point: Point) -> None:
        for job_id in outcome.campaign.ids[point.name]:
            job, asked = outcome.campaign.jobs[job_id], outcome.campaign.asked[job_id]
            ended = [row for row in outcome.history.transitions[job_id] if row["to_state"] in TERMINAL]
            assert len(ended) == 1, ended
            assert job["state"] in point.ends, job
            if job["state"] == "cancelled":
                assert asked.status == 202, asked
                assert job["reason"] == "Cancelled"
                assert "by anonymous: it is the point of it" in job["explanation"], job
            elif asked.status == 202:
                assert "A cancel was requested by anonymous" in job["explanation"], job
                assert "ended first" in job["explanation"], job
            else:
                assert asked.status == 409, asked
                assert dt.datetime.fromisoformat(job["finished_at"]) <= asked.at, job

    def test_no_attempt_follows(self, outcome: Outcome, point: Point) -> None:
        for job_id in outcome.campaign.ids[point.name]:
            job = outcome.campaign.jobs[job_id]
            assert outcome.creates[job_id] in point.creates, job
            assert job["attempt"] <= 1, job
