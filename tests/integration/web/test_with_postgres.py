"""The API on the real store: what a fake could get wrong is held against PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from uuid import UUID

import httpx2
import msgspec
import pytest
import pytest_asyncio

from kube_job_runner.adapters import postgres
from kube_job_runner.domain.facts import AttemptFacts, ContainerFacts, JobFacts, PodFacts
from kube_job_runner.domain.job import Anomaly, Attempt, Verdict
from kube_job_runner.domain.states import State
from kube_job_runner.ports import Change
from kube_job_runner.settings import Settings
from kube_job_runner.web.app import build_app
from kube_job_runner.web.auth import new_token
from tests.support.clocks import SystemClock
from tests.support.postgres import execute, fetch
from tests.unit.web.bad_requests import TABLE
from tests.unit.web.fakes import FakeLogs

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def client(database_url: str) -> AsyncIterator[httpx2.AsyncClient]:
    pg = await postgres.connect(database_url)
    try:
        secret, token = new_token("tester")
        await pg.token_store.add_token(token)
        app = build_app(
            settings=Settings(),
            submit_store=pg.submit_store,
            reader=pg.job_reader,
            tokens=pg.token_store,
            health=pg.health,
            wakeup=pg.wakeup,
            logs=FakeLogs(),
            clock=SystemClock(),
        )
        headers = {"Authorization": f"Bearer {secret}"}
        transport = httpx2.ASGITransport(app=app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://kjr.test", headers=headers) as client:
            yield client
        await app.drain()
        await app.close()
    finally:
        await pg.close()


async def test_the_table_of_bad_requests_holds_and_stores_nothing(
    client: httpx2.AsyncClient, database_url: str
) -> None:
    wrong = []
    for bad in TABLE:
        response = await client.request(bad.method, bad.path, content=bad.body or None, headers=bad.headers)
        answer = response.json()
        found = (response.status_code, answer["code"], tuple(error["pointer"] for error in answer["errors"]))
        if found != (bad.status, bad.code, bad.pointers):
            wrong.append((bad.name, found))
    assert wrong == []
    assert await fetch(database_url, "SELECT id FROM jobs UNION ALL SELECT job_id FROM job_specs") == []
    assert await fetch(database_url, "SELECT id FROM messages") == []


async def test_one_key_fifty_times_at_once_is_one_job(client: httpx2.AsyncClient, database_url: str) -> None:
    async def submit(path: str, body: object) -> httpx2.Response:
        return await client.post(path, json=body, headers={"Idempotency-Key": "k1"})

    answers = await asyncio.gather(*(submit("/v1/jobs", {"image": "busybox"}) for _ in range(50)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    jobs = [{"image": f"app-{number}"} for number in range(20)]
    batches = await asyncio.gather(*(submit("/v1/jobs:batch", {"jobs": jobs}) for _ in range(20)))
    assert {answer.status_code for answer in batches} == {200}
    assert len({answer.content for answer in batches}) == 1
    assert len(await fetch(database_url, "SELECT id FROM jobs")) == 1 + 20
    messages = len(await fetch(database_url, "SELECT id FROM messages"))
    assert 1 + 1 <= messages <= 1 + 20, "one for each commit that stored jobs"
    other = await submit("/v1/jobs:batch", {"jobs": [*jobs, {"image": "one-more"}]})
    assert (other.status_code, other.json()["code"]) == (422, "idempotency-key-reuse")
    assert len(await fetch(database_url, "SELECT id FROM jobs")) == 21


async def test_keys_of_the_greatest_length_are_stored(client: httpx2.AsyncClient) -> None:
    headers = {"Idempotency-Key": "k" * 255}
    for path, body in (("/v1/jobs", {"image": "a"}), ("/v1/jobs:batch", {"jobs": [{"image": "a"}] * 1000})):
        first = await client.post(path, json=body, headers=headers)
        again = await client.post(path, json=body, headers=headers)
        assert first.status_code in (200, 201), first.text
        assert again.content == first.content


async def test_what_was_submitted_is_read_back(client: httpx2.AsyncClient) -> None:
    spec = {
        "image": "busybox",
        "args": ["ä€\U0001f600", 'quote " back \\ slash', "line\nfeed"],
        "env": {"EMPTY": ""},
        "labels": {"team": "a", "example.com/tier": "web"},
        "retry": {"attempts": 3},
        "priority": -100,
    }
    response = await client.post("/v1/jobs", json=spec)
    path = response.headers["location"]
    assert (await client.get(f"{path}/spec")).json() == spec
    job = (await client.get(path)).json()
    assert {key: job[key] for key in ("id", "name", "version", "created_at")} == {
        key: response.json()[key] for key in ("id", "name", "version", "created_at")
    }
    assert (job["labels"], job["priority"], job["owner"]) == (spec["labels"], -100, "tester")
    assert len((await client.get(f"{path}/transitions")).json()["transitions"]) == 1


async def test_lists_filter_and_page(client: httpx2.AsyncClient) -> None:
    jobs = [
        {"image": "a", "name": f"job-{n}", "queue": "q" if n % 2 else "r", "labels": {"n": str(n % 3), "x": "y"}}
        for n in range(12)
    ]
    await client.post("/v1/jobs:batch", json={"jobs": [*jobs, {"image": "plain"}]})

    async def names(**params: str) -> list[str]:
        response = await client.get("/v1/jobs", params={"limit": "500", **params})
        assert response.status_code == 200, response.text
        return sorted(job["name"] for job in response.json()["jobs"])

    assert await names(queue="q") == sorted(f"job-{n}" for n in range(1, 12, 2))
    assert await names(name="job-3") == ["job-3"]
    assert await names(labels="n=0") == sorted(f"job-{n}" for n in range(0, 12, 3))
    assert await names(labels="n in (0,1),x") == sorted(f"job-{n}" for n in range(12) if n % 3 < 2)
    assert await names(labels="n!=0") == sorted([f"job-{n}" for n in range(12) if n % 3] + ["plain"])
    assert await names(labels="n notin (0,1,2)") == ["plain"]
    assert await names(labels="!x") == ["plain"]
    assert await names(state="queued,failed", labels="x") == sorted(f"job-{n}" for n in range(12))
    assert await names(state="running") == []
    assert await names(created_before="2020-01-01T00:00:00Z") == []
    assert len(await names(created_after="0001-01-01T00:00:00Z", created_before="9999-12-31T23:59:59Z")) == 13
    assert await names(name="x' OR '1'='1") == []
    seen, path = [], "/v1/jobs?limit=5"
    while path:
        response = await client.get(path)
        seen += [job["id"] for job in response.json()["jobs"]]
        path = response.links.get("next", {}).get("url", "")
    assert len(set(seen)) == len(seen) == 13
    assert seen == sorted(seen, reverse=True)


async def test_a_cancel_wakes_a_long_poll_or_is_seen_by_the_next_read(client: httpx2.AsyncClient) -> None:
    path = (await client.post("/v1/jobs", json={"image": "a"})).headers["location"]
    version = (await client.get(path)).json()["version"]
    poll = asyncio.create_task(client.get(f"{path}?wait=20s&since={version}"))
    await asyncio.sleep(0)
    answers = await asyncio.gather(*(client.post(f"{path}:cancel", json={"reason": f"r{n}"}) for n in range(10)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["cancel"]["reason"] for answer in answers}) == 1
    answer = (await poll).json()
    assert answer["version"] > version
    assert answer["cancel"]["by"] == "tester"


async def test_readyz_and_metrics_ask_the_real_store(client: httpx2.AsyncClient) -> None:
    await client.post("/v1/jobs", json={"image": "a"})
    assert (await client.get("/readyz?verbose")).text.endswith("ready\n")
    text = (await client.get("/metrics")).text
    assert 'kjr_ready{check="database"} 1.0' in text
    assert 'kjr_ready{check="schema"} 1.0' in text


async def test_an_unknown_id_of_any_version_is_a_404(client: httpx2.AsyncClient) -> None:
    for job_id in (UUID(int=0), UUID(int=2**128 - 1)):
        assert (await client.get(f"/v1/jobs/{job_id}")).status_code == 404


async def test_a_rerun_is_stored_once_and_linked(client: httpx2.AsyncClient, database_url: str) -> None:
    spec = {"image": "busybox", "args": ["ä"], "resources": {"memory": "1Gi"}, "retry": {"attempts": 2}}
    path = (await client.post("/v1/jobs", json=spec)).headers["location"]
    assert (await client.post(f"{path}:rerun")).status_code == 409
    await execute(database_url, "UPDATE jobs SET state = 'failed', reason = 'OutOfMemory', finished_at = now()")
    body = {"set": {"resources.memory": "2Gi"}}
    headers = {"Idempotency-Key": "again"}
    answers = await asyncio.gather(*(client.post(f"{path}:rerun", json=body, headers=headers) for _ in range(20)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    new = answers[0].json()
    assert new["rerun_of"] == path.rpartition("/")[2]
    stored = (await client.get(f"/v1/jobs/{new['id']}/spec")).json()
    assert stored == {**spec, "resources": {"memory": "2Gi"}}
    listed = (await client.get("/v1/jobs", params={"rerun_of": new["rerun_of"]})).json()["jobs"]
    assert [job["id"] for job in listed] == [new["id"]]
    by_reason = (await client.get("/v1/jobs?reason=out_of_memory")).json()["jobs"]
    assert [job["id"] for job in by_reason] == [new["rerun_of"]]


async def test_a_job_whose_cluster_objects_are_gone_explains_itself(
    client: httpx2.AsyncClient, database_url: str
) -> None:
    spec = {"image": "busybox", "retry": {"attempts": 1}}
    path = (await client.post("/v1/jobs", json=spec)).headers["location"]
    job_id = UUID(path.rpartition("/")[2])
    main = ContainerFacts(name="main", state="terminated", reason="Error", message="nul\0 and \x1b[2J", exit_code=3)
    pod = PodFacts(uid="p", name="pod", phase="Failed", node="n1", containers=(main,), gone=True)
    facts = AttemptFacts(job=JobFacts(uid="u", gone=True), pods=(pod,))
    why = "Container main exited with code 3."
    verdict = Verdict(
        outcome=State.FAILED, reason="ApplicationExit", explanation=why, exit_code=3, cause="application", rule="r"
    )
    now = datetime.now(UTC)
    attempt = Attempt(
        job_id=job_id, number=1, namespace="default", cluster_name="c-1", cluster_uid="u", created_at=now,
        started_at=now, finished_at=now, decided_at=now, gone_at=now, node="n1", verdict=verdict, facts=facts,
    )  # fmt: skip
    await _end(database_url, job_id, attempt, now)
    explained = (await client.get(f"{path}/explanation")).json()
    assert explained["sentence"].startswith(f"Failed on node n1: {why}")
    (evidence,) = explained["attempts"]
    assert (evidence["verdict"]["charged_to"], evidence["verdict"]["rule"]) == ("attempts", "r")
    assert evidence["pods"][0]["containers"][0]["message"] == "nul\N{REPLACEMENT CHARACTER} and \x1b[2J"
    assert [anomaly["kind"] for anomaly in explained["anomalies"]] == ["CompletedLater"]
    phases = (await client.get(f"{path}/timeline")).json()["phases"]
    assert [phase["name"] for phase in phases] == ["queued", "created", "running"]
    assert phases[-1]["ended_at"] is not None
    simulation = await client.post(
        "/v1/retry-policies:simulate", json={"policy": {"attempts": 2}, "jobs": [str(job_id)]}
    )
    (found,) = simulation.json()["simulations"]
    assert (found["state"], found["outcome"], found["decisions"][0]["retry"]) == ("failed", "open", True)


async def _end(database_url: str, job_id: UUID, attempt: Attempt, now: datetime) -> None:
    """End a stored job as the processor would, with an attempt and contrary evidence."""
    pg = await postgres.connect(database_url)
    try:
        job = await pg.job_reader.get_job(job_id)
        assert job is not None
        verdict = attempt.verdict
        assert verdict is not None
        ended = msgspec.structs.replace(
            job, state=State.FAILED, version=2, attempt=1, reason=verdict.reason, explanation=verdict.explanation,
            exit_code=3, finished_at=now,
        )  # fmt: skip
        odd = Anomaly(job_id=job_id, attempt=1, kind="CompletedLater", detail="it completed", at=now)
        change = Change(expected_version=1, job=ended, attempts=(attempt,), anomalies=(odd,))
        assert await pg.process_store.commit([change], receipts={}) == {job_id}
    finally:
        await pg.close()


async def test_a_cancel_keeps_its_grace(client: httpx2.AsyncClient) -> None:
    path = (await client.post("/v1/jobs", json={"image": "a"})).headers["location"]
    answer = await client.post(f"{path}:cancel", json={"reason": "why", "grace_seconds": 0})
    again = await client.post(f"{path}:cancel", json={"grace_seconds": 60})
    assert (answer.status_code, again.status_code) == (202, 202)
    assert answer.json()["cancel"] == again.json()["cancel"] == (await client.get(path)).json()["cancel"]
    assert answer.json()["cancel"]["grace_seconds"] == 0
    assert again.json()["warnings"][0]["pointer"] == "/grace_seconds"


async def test_a_later_cancel_with_less_grace_hurries_and_keeps_who_asked_first_and_why(
    client: httpx2.AsyncClient,
) -> None:
    path = (await client.post("/v1/jobs", json={"image": "a"})).headers["location"]
    first = (await client.post(f"{path}:cancel", json={"reason": "why"})).json()
    hurried = (await client.post(f"{path}:cancel", json={"reason": "now!", "grace_seconds": 0})).json()
    assert (first["cancel"]["grace_seconds"], hurried["cancel"]["grace_seconds"]) == (30, 0)
    assert (hurried["cancel"]["reason"], hurried["cancel"]["at"]) == ("why", first["cancel"]["at"])
    assert hurried["version"] == first["version"] + 1
