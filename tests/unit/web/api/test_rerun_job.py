"""Running a job again over HTTP."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import httpx2
import pytest

from kube_job_runner.domain.states import State
from tests.unit.web.conftest import World, submit

pytestmark = pytest.mark.asyncio
SPEC: dict[str, Any] = {
    "name": "etl",
    "args": ["a", "b"],
    "env": {"MODE": "slow"},
    "resources": {"memory": "1Gi"},
    "labels": {"team": "a"},
    "priority": 5,
}


async def ended(world: World, client: httpx2.AsyncClient, **fields: Any) -> UUID:
    """Submit a job and let it fail; return its id."""
    job_id = await submit(client, **(SPEC | fields))
    world.store.change(job_id, state=State.FAILED, reason="OutOfMemory", finished_at=world.clock.time)
    return job_id


async def spec_of(client: httpx2.AsyncClient, job_id: str) -> Any:
    """Return the stored spec of a job."""
    return (await client.get(f"/v1/jobs/{job_id}/spec")).json()


async def test_a_rerun_is_a_new_job_of_the_same_spec(world: World, client: httpx2.AsyncClient) -> None:
    job_id = await ended(world, client)
    answer = await client.post(f"/v1/jobs/{job_id}:rerun")
    assert answer.status_code == 201
    new = answer.json()
    assert new["id"] != str(job_id)
    assert (new["state"], new["rerun_of"], new["name"]) == ("queued", str(job_id), "etl")
    assert answer.headers["location"] == f"/v1/jobs/{new['id']}"
    assert await spec_of(client, new["id"]) == await spec_of(client, str(job_id))
    assert (await client.get(f"/v1/jobs/{new['id']}")).json()["rerun_of"] == str(job_id)
    assert (await client.get(f"/v1/jobs/{job_id}")).json()["rerun_of"] is None
    listed = (await client.get(f"/v1/jobs?rerun_of={job_id}")).json()["jobs"]
    assert [job["id"] for job in listed] == [new["id"]]


async def test_fields_are_set_by_dotted_paths_and_by_pointers(world: World, client: httpx2.AsyncClient) -> None:
    job_id = await ended(world, client, volumes=[{"name": "v", "mount_path": "/v", "empty_dir": {}}])
    changes = {
        "resources.memory": "2Gi",
        "/resources/cpu": "500m",
        "env.a.b": "dotted",
        "/env/MODE": "fast",
        "labels.example.com/tier": "web",
        "args[1]": "x",
        "args[2]": "y",
        "retry.attempts": 3,
        "retry.rules[0].action": "fail",
        "retry.rules[0].exit_codes": [3],
        "priority": None,
        "service_account": None,
        "volumes": None,
    }
    answer = await client.post(f"/v1/jobs/{job_id}:rerun", json={"set": changes})
    assert answer.status_code == 201, answer.text
    assert await spec_of(client, answer.json()["id"]) == {
        "image": "busybox",
        "name": "etl",
        "args": ["a", "x", "y"],
        "env": {"MODE": "fast", "a.b": "dotted"},
        "resources": {"memory": "2Gi", "cpu": "500m"},
        "labels": {"team": "a", "example.com/tier": "web"},
        "retry": {"attempts": 3, "rules": [{"action": "fail", "exit_codes": [3]}]},
    }


@pytest.mark.parametrize(
    ("changes", "pointers", "source"),
    [
        ({"resources.memory": "2GB"}, ["/resources/memory"], "spec"),
        ({"resources.memroy": "2Gi"}, ["/resources/memroy"], "spec"),
        ({"image": None}, ["/image"], "spec"),
        ({"priority": 500, "namespace": "kube-system"}, ["/priority", "/namespace"], "spec"),
        ({"labels.kubernetes.io/os": "x"}, ["/labels/kubernetes.io~1os"], "spec"),
        ({"args[0]": 5}, ["/args/0"], "spec"),
        ({"args[3]": "x"}, ["/set/args[3]"], None),
        ({"args.first": "x"}, ["/set/args.first"], None),
        ({"image.tag": "x"}, ["/set/image.tag"], None),
        ({"resources..memory": "x"}, ["/set/resources..memory"], None),
        ({"/image/0/x": "x", "name.x": 1}, ["/set/~1image~10~1x", "/set/name.x"], None),
    ],
    ids=str,
)
async def test_a_wrong_change_is_refused_with_its_place(
    world: World, client: httpx2.AsyncClient, changes: dict[str, Any], pointers: list[str], source: str | None
) -> None:
    job_id = await ended(world, client)
    answer = await client.post(f"/v1/jobs/{job_id}:rerun", json={"set": changes})
    errors = answer.json()["errors"]
    assert (answer.status_code, answer.json()["code"]) == (422, "validation-failed")
    assert [error["pointer"] for error in errors] == pointers, errors
    assert {error.get("in") for error in errors} == {source}
    assert len(world.store.jobs) == 1


async def test_a_job_that_goes_on_is_run_again_by_force_only(world: World, client: httpx2.AsyncClient) -> None:
    job_id = await submit(client)
    refused = await client.post(f"/v1/jobs/{job_id}:rerun")
    assert (refused.status_code, refused.json()["code"]) == (409, "job-not-ended")
    assert "queued" in refused.json()["detail"]
    assert len(world.store.jobs) == 1
    assert (await client.post(f"/v1/jobs/{job_id}:rerun", json={"force": True})).status_code == 201


async def test_one_key_is_one_rerun(world: World, client: httpx2.AsyncClient) -> None:
    job_id = await ended(world, client)
    headers = {"Idempotency-Key": "k"}

    async def rerun(body: Any, of: UUID = job_id) -> httpx2.Response:
        return await client.post(f"/v1/jobs/{of}:rerun", json=body, headers=headers)

    first = await rerun({"set": {"priority": 1, "name": "b"}})
    again = await rerun({"set": {"name": "b", "priority": 1}})
    assert (again.content, again.headers["idempotency-replayed"]) == (first.content, "true")
    other = await ended(world, client)
    for answer in (await rerun({"set": {"priority": 2}}), await rerun({"set": {"priority": 1, "name": "b"}}, other)):
        assert (answer.status_code, answer.json()["code"]) == (422, "idempotency-key-reuse")
    assert len(world.store.jobs) == 3
    plain = await client.post("/v1/jobs", json={"image": "busybox"}, headers=headers)
    assert plain.status_code == 201  # keys of submits are others


async def test_a_spec_that_is_not_allowed_any_more_is_refused(world: World, client: httpx2.AsyncClient) -> None:
    job_id = await ended(world, client)
    world.store.specs[job_id] = b'{"image":"busybox","namespace":"closed"}'
    answer = await client.post(f"/v1/jobs/{job_id}:rerun")
    assert [error["pointer"] for error in answer.json()["errors"]] == ["/namespace"]
    answer = await client.post(f"/v1/jobs/{job_id}:rerun", json={"set": {"namespace": "default"}})
    assert answer.status_code == 201


async def test_an_unknown_field_of_the_body_is_a_warning(world: World, client: httpx2.AsyncClient) -> None:
    job_id = await ended(world, client)
    answer = await client.post(f"/v1/jobs/{job_id}:rerun", json={"sets": {}})
    assert [warning["pointer"] for warning in answer.json()["warnings"]] == ["/sets"]
    assert (await client.post(f"/v1/jobs/{job_id}:rerun?strict=true", json={"sets": {}})).status_code == 422
