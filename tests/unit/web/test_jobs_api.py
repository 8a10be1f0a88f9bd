"""Submitting, reading, listing and cancelling over HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import httpx2
import pytest

from kube_job_runner.domain.decide.admission import QueueStanding
from kube_job_runner.domain.errors import DatabaseUnavailable
from kube_job_runner.domain.job import Attempt, Verdict
from kube_job_runner.domain.states import State
from kube_job_runner.ports import Submission
from kube_job_runner.web.validation.fault import FAULTS_MAX
from tests.unit.web.conftest import World

pytestmark = pytest.mark.asyncio


async def submit(client: httpx2.AsyncClient, **fields: Any) -> UUID:
    response = await client.post("/v1/jobs", json={"image": "busybox", **fields})
    assert response.status_code == 201, response.text
    return UUID(response.json()["id"])


async def test_a_submit_answers_with_the_stored_job(world: World, client: httpx2.AsyncClient) -> None:
    response = await client.post("/v1/jobs", json={"image": "busybox", "queue": "night", "labels": {"a": "b"}})
    answer = response.json()
    job = world.store.jobs[UUID(answer["id"])]
    assert answer == {
        "id": str(job.id),
        "name": "busybox",
        "state": "queued",
        "version": 1,
        "created_at": "2026-01-15T09:30:00Z",
        "queue": "night",
        "namespace": "default",
        "warnings": [],
    }
    assert response.headers["location"] == f"/v1/jobs/{job.id}"
    assert (job.owner, job.labels) == ("tester", {"a": "b"})
    stored = await client.get(response.headers["location"])
    assert stored.json()["id"] == answer["id"]
    assert (await client.get(f"/v1/jobs/{job.id}/spec")).json() == {
        "image": "busybox",
        "queue": "night",
        "labels": {"a": "b"},
    }


async def test_a_waiting_job_tells_its_place_and_an_admitted_one_does_not(
    world: World, client: httpx2.AsyncClient
) -> None:
    job_id = await submit(client, queue="etl")
    world.store.change(job_id, explanation="Container main exited with code 3.")
    world.store.standings[job_id] = QueueStanding(
        queue="etl", ahead=3, queue_in_flight=10, queue_limit=10, total_in_flight=40, total_limit=500
    )
    shown = (await client.get(f"/v1/jobs/{job_id}")).json()
    assert (shown["queue_position"], shown["admitted_at"]) == (4, None)
    assert shown["explanation"] == (
        "Container main exited with code 3. Waiting: 4th in queue etl; the queue runs 10 of 10."
    )
    listed = (await client.get("/v1/jobs")).json()["jobs"][0]
    assert (listed["queue_position"], listed["explanation"]) == (None, "Container main exited with code 3.")
    world.store.change(job_id, admitted_at=world.clock.now())
    shown = (await client.get(f"/v1/jobs/{job_id}")).json()
    assert (shown["queue_position"], shown["admitted_at"]) == (None, "2026-01-15T09:30:00Z")


async def test_an_unknown_field_is_a_warning(client: httpx2.AsyncClient) -> None:
    response = await client.post("/v1/jobs", json={"image": "busybox", "retry": {"attempts": 2, "tries": 1}})
    assert response.status_code == 201
    assert response.json()["warnings"] == [
        {"pointer": "/retry/tries", "detail": "is not a known field; it was ignored"}
    ]


async def test_a_batch_answers_each_job_in_its_place(world: World, client: httpx2.AsyncClient) -> None:
    jobs = [{"image": "a"}, {"image": "b", "priority": 500}, {"image": "c"}, 5, {"image": "d", "x": 1}]
    for strict, statuses in (("", [201, 422, 201, 422, 201]), ("?strict=true", [201, 422, 201, 422, 422])):
        results = (await client.post("/v1/jobs:batch" + strict, json={"jobs": jobs})).json()["results"]
        assert [item["status"] for item in results] == statuses
        assert results[1]["problem"]["errors"] == [{"pointer": "/jobs/1/priority", "detail": "must be at most 100"}]
        assert results[3]["problem"]["errors"][0]["pointer"] == "/jobs/3"
        names = [world.store.jobs[UUID(item["job"]["id"])].name for item in results if "job" in item]
        assert names == (["a", "c", "d"] if not strict else ["a", "c"])


async def test_a_batch_is_one_commit(world: World, client: httpx2.AsyncClient) -> None:
    response = await client.post("/v1/jobs:batch", json={"jobs": [{"image": "a"}] * 1000})
    assert {item["status"] for item in response.json()["results"]} == {201}
    assert world.store.commits == [1000]


async def test_a_row_that_the_store_refuses_fails_alone(world: World, client: httpx2.AsyncClient) -> None:
    def refuse(batch: Sequence[Submission]) -> None:
        if any(one.job.name == "bad" for one in batch):
            raise ValueError("secret detail of the store")

    world.store.before_insert = refuse
    response = await client.post("/v1/jobs:batch", json={"jobs": [{"image": "a"}, {"image": "a", "name": "bad"}]})
    assert [item["status"] for item in response.json()["results"]] == [201, 500]
    single = await client.post("/v1/jobs", json={"image": "a", "name": "bad"})
    assert (single.status_code, single.json()["code"]) == (500, "internal-error")
    assert "secret detail" not in response.text + single.text


async def test_a_lost_database_is_a_503_that_may_be_repeated(world: World, client: httpx2.AsyncClient) -> None:
    def refuse(_batch: Sequence[Submission]) -> None:
        raise DatabaseUnavailable(delay_seconds=7)

    world.store.before_insert = refuse
    world.store.failure = DatabaseUnavailable()
    for method, path, body in (
        ("POST", "/v1/jobs", {"image": "a"}),
        ("POST", "/v1/jobs:batch", {"jobs": [{"image": "a"}]}),
        ("GET", "/v1/jobs", None),
    ):
        response = await client.request(method, path, json=body)
        assert (response.status_code, response.json()["code"]) == (503, "database-unavailable")
        assert response.json()["retryable"] is True
        assert response.headers["retry-after"] == ("7" if body else "1")


async def test_jobs_run_in_the_allowed_namespaces_and_are_listed_by_them() -> None:
    world = World(namespaces=("first", "second"))
    async with world.client() as client:
        ids = {name: str(await submit(client, **({"namespace": name} if name else {}))) for name in ("", "second")}
        for name, id_ in (("first", ids[""]), ("second", ids["second"])):
            page = (await client.get(f"/v1/jobs?namespace={name}")).json()["jobs"]
            assert [(job["id"], job["namespace"]) for job in page] == [(id_, name)]
        refused = await client.post("/v1/jobs", json={"image": "a", "namespace": "third"})
    assert refused.status_code == 422
    (error,) = refused.json()["errors"]
    assert error["pointer"] == "/namespace"
    assert error["detail"] == "'third' is not allowed here; allowed: first, second"


async def test_pages_follow_the_cursor_to_the_end(world: World, client: httpx2.AsyncClient) -> None:
    ids = []
    for number in range(7):
        world.clock.time = datetime(2026, 1, 15, 9, 30, number, tzinfo=UTC)
        ids.append(str(await submit(client, queue="q", labels={"n": str(number % 2)})))
    path, seen = "/v1/jobs?limit=3&queue=q&state=queued,running&created_after=2026-01-01T00:00:00Z", []
    for size in (3, 3, 1):
        response = await client.get(path)
        page = response.json()
        seen += [job["id"] for job in page["jobs"]]
        assert len(page["jobs"]) == size
        if page["next_cursor"] is None:
            assert "link" not in response.headers
            break
        path = response.links["next"]["url"]
        assert f"cursor={page['next_cursor']}" in path
    assert seen == ids[::-1]
    labelled = (await client.get("/v1/jobs", params={"labels": "n in (1),n"})).json()["jobs"]
    assert [job["id"] for job in labelled] == [ids[5], ids[3], ids[1]]


async def test_a_cancel_is_taken_once_and_may_be_repeated(world: World, client: httpx2.AsyncClient) -> None:
    job_id = await submit(client)
    first = await client.post(f"/v1/jobs/{job_id}:cancel", json={"reason": "changed my mind"})
    again = await client.post(f"/v1/jobs/{job_id}:cancel", json={"reason": "other"})
    bare = await client.post(f"/v1/jobs/{job_id}:cancel")
    assert [answer.status_code for answer in (first, again, bare)] == [202, 202, 202]
    assert first.json() == again.json() == bare.json()
    assert first.json()["cancel"]["reason"] == "changed my mind"
    assert first.json()["cancel"]["by"] == "tester"
    warned = await client.post(f"/v1/jobs/{job_id}:cancel", json={"why": "x"})
    assert warned.json()["warnings"][0]["pointer"] == "/why"


@pytest.mark.parametrize(
    ("state", "grace", "words"),
    [
        (State.QUEUED, None, "It is not created any more"),
        (State.STARTING, 5, "Its pod is removed; if its program has begun meanwhile, it is asked to end (SIGTERM)"),
        (State.RUNNING, None, "If it still runs, it is asked to end (SIGTERM) and killed after 30 s"),
        (State.RUNNING, 0, "If it still runs, it is killed at once"),
        (State.STOPPING, 5, "It is being stopped already"),
    ],
)  # fmt: skip
async def test_a_cancel_says_what_happens_in_the_phase_of_the_job(
    world: World, client: httpx2.AsyncClient, state: State, grace: int | None, words: str
) -> None:
    job_id = await submit(client)
    world.store.change(job_id, state=state)
    body = {"reason": "r"} if grace is None else {"reason": "r", "grace_seconds": grace}
    cancel = (await client.post(f"/v1/jobs/{job_id}:cancel", json=body)).json()["cancel"]
    assert cancel["outlook"].startswith(words)
    assert cancel["grace_seconds"] == (30 if grace is None else grace)
    world.store.change(job_id, state=State.CANCELLED)
    assert (await client.get(f"/v1/jobs/{job_id}")).json()["cancel"]["outlook"] is None


async def test_a_second_cancel_may_hurry_but_not_slow_down(world: World, client: httpx2.AsyncClient) -> None:
    job_id = await submit(client)
    first = await client.post(f"/v1/jobs/{job_id}:cancel", json={"grace_seconds": 60})
    hurried = await client.post(f"/v1/jobs/{job_id}:cancel", json={"grace_seconds": 5})
    assert "warnings" not in {**first.json(), **hurried.json()}
    assert hurried.json()["cancel"]["grace_seconds"] == 5
    again = (await client.post(f"/v1/jobs/{job_id}:cancel", json={"grace_seconds": 30})).json()
    assert again["cancel"]["grace_seconds"] == 5
    (warning,) = again["warnings"]
    assert warning["pointer"] == "/grace_seconds"
    assert "by tester" in warning["detail"]
    world.store.change(job_id, state=State.SUCCEEDED, finished_at=world.clock.time)
    late = await client.post(f"/v1/jobs/{job_id}:cancel")
    assert late.status_code == 409
    assert "succeeded at 2026-01-15T09:30:00+00:00" in late.json()["detail"]
    assert "a cancel asked for by tester at 2026-01-15T09:30:00+00:00 came too late" in late.json()["detail"]


async def test_jobs_are_listed_by_their_reason(world: World, client: httpx2.AsyncClient) -> None:
    first, second, third = [await submit(client) for _ in range(3)]
    world.store.change(first, state=State.FAILED, reason="OutOfMemory")
    world.store.change(second, state=State.FAILED, reason="ImageNotFound")
    world.store.change(third, state=State.QUEUED, reason="OutOfMemory")

    async def ids(query: str) -> list[str]:
        response = await client.get("/v1/jobs?" + query)
        assert response.status_code == 200, response.text
        return [job["id"] for job in response.json()["jobs"]]

    for name in ("OutOfMemory", "out_of_memory", "out-of-memory"):
        assert await ids(f"reason={name}") == [str(first)]
    assert await ids("reason=OutOfMemory&state=queued") == [str(third)]
    assert await ids("reason=NoSuchThing") == []


async def test_a_job_that_ended_cannot_be_cancelled_and_the_answer_says_how_it_ended(
    world: World, client: httpx2.AsyncClient
) -> None:
    job_id = await submit(client)
    world.store.change(job_id, state=State.FAILED, reason="ExitCode", finished_at=world.clock.time)
    answer = await client.post(f"/v1/jobs/{job_id}:cancel")
    assert (answer.status_code, answer.json()["code"]) == (409, "job-ended")
    assert "failed" in answer.json()["detail"]
    assert "ExitCode" in answer.json()["detail"]
    world.store.change(job_id, state=State.CANCELLED)
    assert (await client.post(f"/v1/jobs/{job_id}:cancel")).status_code == 202


async def test_attempts_and_transitions(world: World, client: httpx2.AsyncClient) -> None:
    job_id = await submit(client)
    assert (await client.get(f"/v1/jobs/{job_id}/attempts")).json() == {"attempts": []}
    verdict = Verdict(outcome=State.FAILED, reason="ExitCode", explanation="exit code 3", exit_code=3)
    world.store.attempts[job_id] = [
        Attempt(job_id=job_id, number=1, namespace="default", cluster_name="busybox-x-1", verdict=verdict, node="n1")
    ]
    (attempt,) = (await client.get(f"/v1/jobs/{job_id}/attempts")).json()["attempts"]
    assert (attempt["number"], attempt["reason"], attempt["exit_code"], attempt["pod_name"]) == (1, "ExitCode", 3, None)
    assert attempt["verdict"]["outcome"] == "failed"
    (transition,) = (await client.get(f"/v1/jobs/{job_id}/transitions")).json()["transitions"]
    assert (transition["from_state"], transition["to_state"], transition["version"]) == (None, "queued", 1)


async def test_a_bug_is_a_500_without_details(world: World, client: httpx2.AsyncClient) -> None:
    world.store.failure = RuntimeError("password=hunter2")
    response = await client.get("/v1/jobs")
    assert (response.status_code, response.json()["code"]) == (500, "internal-error")
    assert "hunter2" not in response.text
    assert response.json()["request_id"] == response.headers["x-request-id"]


async def test_an_answer_to_a_flood_of_faults_is_small(client: httpx2.AsyncClient) -> None:
    response = await client.post("/v1/jobs", json={"image": "a", "env": {f"{n}": "x" for n in range(900)}})
    assert response.status_code == 422
    assert len(response.json()["errors"]) == FAULTS_MAX
    assert len(response.content) < 50_000
