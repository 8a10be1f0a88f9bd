"""`POST /v1/jobs/{id}:cancel`."""

from __future__ import annotations

import httpx2
import pytest

from kube_job_runner.domain.states import State
from tests.unit.web.conftest import World, submit

pytestmark = pytest.mark.asyncio


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
        (State.QUEUED, None, "It will not be created"),
        (State.STARTING, 5, "Its pod is removed. If its program has started meanwhile, it gets SIGTERM, and SIGKILL after 5 s"),
        (State.RUNNING, None, "If it still runs, it gets SIGTERM, and SIGKILL after 30 s"),
        (State.RUNNING, 0, "If it still runs, it is killed at once"),
        (State.STOPPING, 5, "It is already being stopped"),
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
