"""Trying out retry policies over HTTP."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from kube_job_runner.domain.decide.retries import JITTER
from kube_job_runner.domain.job import Attempt, Verdict
from kube_job_runner.domain.states import State
from kube_job_runner.services.simulator import cause_of
from tests.unit.web.conftest import World, submit

pytestmark = pytest.mark.asyncio
PATH = "/v1/retry-policies:simulate"
OOM = {"reason": "out_of_memory", "exit_code": 137, "signal": 9, "cause": "application"}


async def simulate(client: httpx2.AsyncClient, **body: Any) -> list[Any]:
    response = await client.post(PATH, json=body)
    assert response.status_code == 200, response.text
    simulations = response.json()["simulations"]
    assert isinstance(simulations, list)
    return simulations


async def test_memory_grows_until_the_policy_ends_it(client: httpx2.AsyncClient) -> None:
    rule = {"action": "grow_memory", "reasons": ["OutOfMemory"], "max_memory": "3Gi"}
    (found,) = await simulate(client, policy={"attempts": 5, "rules": [rule]}, failures=[OOM] * 4, memory="1Gi")
    assert (found["job_id"], found["state"], found["outcome"], found["attempts"]) == (None, None, "failed", 3)
    decisions = found["decisions"]
    assert [(one["retry"], one["reached"], one["memory"], one["rule"]) for one in decisions] == [
        (True, True, "2048Mi", 0),
        (True, True, "3072Mi", 0),
        (False, True, None, 0),
        (False, False, None, 0),
    ]
    assert {one["reason"] for one in decisions} == {"OutOfMemory"}
    assert {one["charged_to"] for one in decisions} == {"attempts"}
    assert decisions[1]["delay_seconds"] == pytest.approx(20, rel=JITTER)
    assert decisions[2]["delay_seconds"] is None
    assert found["waited_seconds"] == pytest.approx(30, rel=JITTER)
    assert "may not give more memory" in decisions[2]["why"]


async def test_what_is_left_open(client: httpx2.AsyncClient) -> None:
    evicted = {"reason": "PodLost"}
    (found,) = await simulate(client, policy={}, failures=[evicted])
    assert (found["outcome"], found["attempts"]) == ("open", 1)
    assert found["decisions"][0]["cause"] == found["decisions"][0]["charged_to"] == "infrastructure"
    (found,) = await simulate(client, policy={"infrastructure_retries": 0}, failures=[evicted])
    assert (found["outcome"], found["decisions"][0]["why"]) == ("failed", "no free retries are allowed")
    (found,) = await simulate(client, policy={}, failures=[{"reason": "ImageNotFound"}])
    assert (found["outcome"], found["decisions"][0]["charged_to"]) == ("failed", None)


async def test_jobs_that_ran_are_replayed(world: World, client: httpx2.AsyncClient) -> None:
    job_id = await submit(client, resources={"memory": "1Gi"})
    failed = Verdict(outcome=State.FAILED, reason="ApplicationExit", exit_code=3, cause="application")
    done = Verdict(outcome=State.SUCCEEDED, reason="Completed", exit_code=0)
    world.store.attempts[job_id] = [
        Attempt(job_id=job_id, number=number, namespace="default", cluster_name=f"c-{number}", verdict=verdict)
        for number, verdict in enumerate((failed, failed, done, None), start=1)
    ]
    world.store.change(job_id, state=State.SUCCEEDED, attempt=3)
    never_ran = await submit(client)
    jobs = [str(job_id), str(never_ran)]
    first, second = await simulate(client, policy={"attempts": 2}, jobs=jobs)
    assert (first["job_id"], first["state"], first["outcome"], first["attempts"]) == (jobs[0], "succeeded", "failed", 2)
    assert [one["reached"] for one in first["decisions"]] == [True, True, False]
    assert first["decisions"][2]["why"] == "the job has succeeded"
    assert (second["job_id"], second["outcome"], second["attempts"], second["decisions"]) == (jobs[1], "open", 0, [])
    (found,) = await simulate(client, policy={"attempts": 3}, jobs=jobs[:1])
    assert (found["outcome"], found["attempts"]) == ("succeeded", 3)
    world.store.attempts[job_id] = [
        Attempt(
            job_id=job_id,
            number=1,
            namespace="default",
            cluster_name="c",
            verdict=Verdict(outcome=State.CANCELLED, reason="Cancelled"),
        )
    ]
    (found,) = await simulate(client, policy={"attempts": 3}, jobs=jobs[:1])
    assert (found["outcome"], found["decisions"][0]["why"]) == ("cancelled", "the job was cancelled")


async def test_the_memory_of_a_recorded_job_is_that_of_its_spec(world: World, client: httpx2.AsyncClient) -> None:
    job_id = await submit(client, resources={"memory": "1Gi"})
    oom = Verdict(outcome=State.FAILED, reason="OutOfMemory", exit_code=137, cause="application")
    world.store.attempts[job_id] = [
        Attempt(job_id=job_id, number=1, namespace="default", cluster_name="c", verdict=oom)
    ]
    world.store.change(job_id, state=State.FAILED, attempt=1)
    rule = {"action": "grow_memory", "reasons": ["OutOfMemory"], "max_memory": "8Gi", "factor": 1.5}
    (found,) = await simulate(client, policy={"attempts": 2, "rules": [rule]}, jobs=[str(job_id)])
    assert found["decisions"][0]["memory"] == "1536Mi"


async def test_unknown_fields_are_warned_of(client: httpx2.AsyncClient) -> None:
    body = {"policy": {"attempt": 3}, "failures": [{"reason": "OutOfMemory"}]}
    answer = (await client.post(PATH, json=body)).json()
    assert [warning["pointer"] for warning in answer["warnings"]] == ["/policy/attempt"]
    strict = await client.post(PATH + "?strict=true", json=body)
    assert [error["pointer"] for error in strict.json()["errors"]] == ["/policy/attempt"]


async def test_a_reason_that_nobody_knows_is_refused(client: httpx2.AsyncClient) -> None:
    failures = [{"reason": "PodLost"}, {"reason": "NoSuchThing"}]
    answer = await client.post(PATH, json={"policy": {}, "failures": failures})
    assert [error["pointer"] for error in answer.json()["errors"]] == ["/failures/1/reason"]


@pytest.mark.parametrize(
    ("reason", "cause"),
    [
        ("ImageNotFound", "permanent"),
        ("image_not_found", "permanent"),
        ("OutOfMemory", "application"),
        ("node-pressure-evicted", "infrastructure"),
        ("RunTimeout", "application"),
        ("start_timeout", "permanent"),
        ("PodLost", "infrastructure"),
        ("NoSuchThing", None),
    ],
)
async def test_whose_fault_a_reason_usually_is(reason: str, cause: str | None) -> None:
    assert cause_of(reason) == cause
