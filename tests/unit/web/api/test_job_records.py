"""The attempts and the transitions of a job."""

from __future__ import annotations

import httpx2
import pytest

from kube_job_runner.domain.job import Attempt, Verdict
from kube_job_runner.domain.states import State
from tests.unit.web.conftest import World, submit

pytestmark = pytest.mark.asyncio


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
