"""Timeline and explanation over HTTP: what is kept of a job answers for it, whatever the cluster still knows."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx2
import pytest

from kube_job_runner.domain.decide.admission import QueueStanding
from kube_job_runner.domain.errors import TemporaryError
from kube_job_runner.domain.facts import (
    AttemptFacts,
    Condition,
    ContainerFacts,
    EventFacts,
    JobFacts,
    NodeFacts,
    PodFacts,
)
from kube_job_runner.domain.job import Anomaly, Attempt, CancelRequest, Marks, Policy, Verdict
from kube_job_runner.domain.spec.model import Retry, RetryRule
from kube_job_runner.domain.states import State
from tests.unit.web.conftest import World, submit

pytestmark = pytest.mark.asyncio


def at(world: World, seconds: float) -> Any:
    """Return the time so many seconds after the submits of a test."""
    return world.clock.time + timedelta(seconds=seconds)


def failed_attempt(world: World, job_id: UUID, number: int, verdict: Verdict, **more: Any) -> Attempt:
    """Return an attempt on node n1 that started at 2 s and was decided at 9 s."""
    main = ContainerFacts(
        name="main",
        state="terminated",
        reason="Error",
        message="said\x1b[2Jlast",
        exit_code=3,
        started_at=at(world, 2),
        finished_at=at(world, 8),
    )
    init = ContainerFacts(name="fetch", init=True, state="terminated", reason="Completed", exit_code=0)
    proxy = ContainerFacts(name="proxy", init=True, sidecar=True, state="waiting", reason="PodInitializing")
    pod = PodFacts(
        uid="p-1",
        name="etl-pod",
        phase="Failed",
        node="n1",
        gone=True,
        conditions=(Condition(type="PodScheduled", at=at(world, 1)),),
        containers=(init, proxy, main),
    )
    event = EventFacts(
        uid="e-1",
        object_kind="Pod",
        object_name="etl-pod",
        object_uid="p-1",
        reason="BackOff",
        message="back-off",
        count=7,
        first_at=at(world, 1),
        last_at=at(world, 3),
    )
    pressure = Condition(type="MemoryPressure", reason="Low", message="low memory")
    node = NodeFacts(name="n1", seen_at=at(world, 8), conditions=(pressure,))
    job = JobFacts(uid="u-1", conditions=(Condition(type="Failed", reason="BackoffLimitExceeded"),), gone=True)
    defaults: dict[str, Any] = {
        "node": "n1",
        "created_at": at(world, 0.5),
        "started_at": at(world, 2),
        "finished_at": at(world, 8),
        "decided_at": at(world, 9),
        "gone_at": at(world, 20),
        "facts": AttemptFacts(job=job, pods=(pod,), events=(event,), nodes=(node,)),
        "marks": Marks(scheduled_at=at(world, 1)),
    }
    return Attempt(
        job_id=job_id,
        number=number,
        namespace="default",
        cluster_name=f"etl-{number}",
        cluster_uid="u-1",
        verdict=verdict,
        **(defaults | more),
    )


EXIT_3 = Verdict(
    outcome=State.FAILED,
    reason="ApplicationExit",
    explanation="Container main exited with code 3.",
    exit_code=3,
    cause="application",
    rule="exit-code",
)
EVICTED = Verdict(outcome=State.FAILED, reason="NodePressureEvicted", explanation="Evicted.", cause="infrastructure")


async def test_the_timeline_of_a_job_that_ended(world: World, client: httpx2.AsyncClient) -> None:
    job_id = await submit(client)
    world.store.attempts[job_id] = [failed_attempt(world, job_id, 1, EXIT_3)]
    world.store.change(job_id, state=State.FAILED, attempt=1, finished_at=at(world, 9))
    answer = (await client.get(f"/v1/jobs/{job_id}/timeline")).json()
    assert (answer["job_id"], answer["state"], answer["version"]) == (str(job_id), "failed", 2)
    assert answer["now"] == "2026-01-15T09:30:00Z"
    assert [phase["name"] for phase in answer["phases"]] == ["queued", "created", "scheduled", "running", "finishing"]
    last = answer["phases"][-1]
    assert last == {
        "attempt": 1,
        "name": "finishing",
        "started_at": "2026-01-15T09:30:08Z",
        "ended_at": "2026-01-15T09:30:09Z",
        "deadline": None,
        "reason": "Container main exited with code 3.",
    }


async def test_a_job_that_waits_says_where_it_stands(world: World, client: httpx2.AsyncClient) -> None:
    job_id = await submit(client, queue="etl", timeouts={"queue_seconds": 3600})
    world.store.standings[job_id] = QueueStanding(
        queue="etl", ahead=3, queue_in_flight=10, queue_limit=10, total_in_flight=40, total_limit=500
    )
    (phase,) = (await client.get(f"/v1/jobs/{job_id}/timeline")).json()["phases"]
    assert (phase["name"], phase["ended_at"], phase["reason"]) == (
        "queued",
        None,
        "4th in queue etl; the queue runs 10 of 10",
    )
    assert phase["deadline"] == "2026-01-15T10:30:00Z"
    answer = (await client.get(f"/v1/jobs/{job_id}/explanation")).json()
    assert answer["sentence"] == (
        "Waiting in queue etl: 4th in queue etl; the queue runs 10 of 10."
        " It fails unless it is created by 2026-01-15 10:30:00 UTC."
    )
    assert (answer["attempts"], answer["reason"], answer["cause"]) == ([], None, None)


async def test_an_explanation_is_one_sentence_and_all_the_evidence(world: World, client: httpx2.AsyncClient) -> None:
    job_id = await submit(client)
    world.store.attempts[job_id] = [failed_attempt(world, job_id, 1, EXIT_3)]
    world.store.change(
        job_id, state=State.FAILED, attempt=1, reason="ApplicationExit", explanation=EXIT_3.explanation, exit_code=3
    )
    world.logs.print(job_id, b"".join(b"line %d\n" % number for number in range(60)))
    answer = (await client.get(f"/v1/jobs/{job_id}/explanation")).json()
    assert answer["sentence"] == (
        "Failed on node n1: Container main exited with code 3."
        " The program itself reported the error: read the last lines of its log."
    )
    assert (answer["reason"], answer["category"], answer["cause"]) == (
        "ApplicationExit", "application_exit", "application",
    )  # fmt: skip
    (attempt,) = answer["attempts"]
    assert attempt["verdict"] == {
        "outcome": "failed",
        "reason": "ApplicationExit",
        "category": "application_exit",
        "explanation": "Container main exited with code 3.",
        "exit_code": 3,
        "signal": None,
        "cause": "application",
        "rule": "exit-code",
        "charged_to": "attempts",
        "retried": False,
        "followed": "it was attempt 1 of 1",
        "decided_at": "2026-01-15T09:30:09Z",
    }
    assert attempt["cluster_job"]["conditions"][0]["reason"] == "BackoffLimitExceeded"
    assert attempt["cluster_job"]["gone_at"] == "2026-01-15T09:30:20Z"
    (pod,) = attempt["pods"]
    assert (pod["phase"], pod["node"], pod["gone"]) == ("Failed", "n1", True)
    assert [(one["name"], one["kind"], one["exit_code"]) for one in pod["containers"]] == [
        ("fetch", "init", 0),
        ("proxy", "sidecar", None),
        ("main", "main", 3),
    ]
    assert pod["containers"][2]["message"] == "said\x1b[2Jlast"
    (event,) = attempt["events"]
    assert (event["object"], event["count"], event["message"]) == ("Pod/etl-pod", 7, "back-off")
    (node,) = attempt["nodes"]
    assert (node["name"], node["conditions"][0]["type"]) == ("n1", "MemoryPressure")
    (lines,) = attempt["last_lines"]
    assert (lines["container"], len(lines["lines"]), lines["lines"][-1]) == ("main", 50, "line 59")


async def test_what_followed_each_attempt_and_who_paid(world: World, client: httpx2.AsyncClient) -> None:
    rules = (RetryRule(action="fail", exit_codes=(3,)),)
    job_id = await submit(client)
    world.store.attempts[job_id] = [
        failed_attempt(world, job_id, 1, EVICTED),
        failed_attempt(world, job_id, 2, EXIT_3),
    ]
    policy = Policy(retry=Retry(attempts=3, rules=rules))
    world.store.change(job_id, state=State.FAILED, attempt=2, policy=policy, reason="ApplicationExit")
    answer = (await client.get(f"/v1/jobs/{job_id}/explanation")).json()
    verdicts = [attempt["verdict"] for attempt in answer["attempts"]]
    assert [(one["charged_to"], one["retried"], one["followed"]) for one in verdicts] == [
        ("infrastructure", True, "free retry 1 of 5 follows"),
        ("attempts", False, "rule 0 says so"),
    ]
    assert answer["sentence"].startswith("Failed in attempt 2 on node n1: ApplicationExit.")


async def test_a_cancel_is_what_followed_the_last_attempt(world: World, client: httpx2.AsyncClient) -> None:
    job_id = await submit(client)
    cancel = CancelRequest(at=world.clock.time, by="ann", reason="enough")
    world.store.attempts[job_id] = [failed_attempt(world, job_id, 1, EVICTED)]
    world.store.change(job_id, state=State.CANCELLED, attempt=1, cancel=cancel, explanation="Cancelled by ann: enough")
    answer = (await client.get(f"/v1/jobs/{job_id}/explanation")).json()
    assert answer["attempts"][0]["verdict"]["followed"] == "a cancel was asked for"
    assert answer["sentence"] == "Cancelled by ann: enough. Nothing of it is left in the cluster."


async def test_contrary_evidence_is_shown(world: World, client: httpx2.AsyncClient) -> None:
    job_id = await submit(client)
    world.store.change(job_id, state=State.FAILED, attempt=1)
    world.store.attempts[job_id] = [
        failed_attempt(world, job_id, 1, EXIT_3),
        failed_attempt(world, job_id, 2, Verdict(outcome=State.FAILED, reason="ApplicationExit")),
    ]
    world.store.anomalies[job_id] = [
        Anomaly(job_id=job_id, attempt=1, kind="CompletedLater", detail="the cluster job completed", at=at(world, 30))
    ]
    answer = (await client.get(f"/v1/jobs/{job_id}/explanation")).json()
    assert answer["anomalies"] == [
        {
            "attempt": 1,
            "kind": "CompletedLater",
            "detail": "the cluster job completed",
            "at": "2026-01-15T09:30:30Z",
        }
    ]
    assert answer["attempts"][1]["verdict"]["followed"] == "it was made while the job ended, and removed at once"


async def test_evidence_that_cannot_be_read_does_not_hide_the_cause(world: World, client: httpx2.AsyncClient) -> None:
    job_id = await submit(client)
    world.store.attempts[job_id] = [failed_attempt(world, job_id, 1, EXIT_3)]
    world.store.change(job_id, state=State.FAILED, attempt=1, explanation="Container main exited with code 3.")
    world.logs.print(job_id, b"lost\n")
    world.logs.failure = TemporaryError("the log store is down")
    answer = (await client.get(f"/v1/jobs/{job_id}/explanation")).json()
    assert answer["attempts"][0]["verdict"]["exit_code"] == 3
    assert answer["missing"] == ["the last lines of attempt 1 cannot be read now: the log store is down"]
