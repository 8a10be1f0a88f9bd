"""What each call of the clients sends, and what it makes of the answer."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest

from kube_job_runner import client as sdk
from tests.unit.client.conftest import JOB_ID, Driver, Script, job


def problem(status: int, code: str = "some-code", **more: Any) -> httpx2.Response:
    """Return a problem answer."""
    body = {"type": "/problems/x", "title": "Title", "status": status, "detail": "what is wrong", "code": code, **more}
    return httpx2.Response(status, json=body, headers={"content-type": "application/problem+json"})


def test_a_submit_sends_the_spec_the_token_and_a_key(client: Driver, script: Script) -> None:
    script.add(httpx2.Response(201, json=job()))
    made = client.call("submit", {"image": "busybox"}, command=["echo", "hi"], name=None)
    (request,) = script.requests
    assert (request.method, request.url.path) == ("POST", "/v1/jobs")
    assert json.loads(request.content) == {"image": "busybox", "command": ["echo", "hi"]}
    assert request.headers["authorization"] == "Bearer secret"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["idempotency-key"].startswith("kjr-")
    assert request.headers["user-agent"].startswith("kjr/")
    assert (made.id, made.state) == (JOB_ID, "queued")


def test_a_submit_of_nothing_is_a_mistake_in_the_program(client: Driver) -> None:
    with pytest.raises(TypeError, match="image="):
        client.call("submit")


def test_two_submits_have_two_keys_and_a_given_key_is_kept(client: Driver, script: Script) -> None:
    script.add(*[httpx2.Response(201, json=job()) for _ in range(3)])
    client.call("submit", image="a")
    client.call("submit", image="a")
    client.call("submit", image="a", idempotency_key="mine")
    keys = [request.headers["idempotency-key"] for request in script.requests]
    assert keys[0] != keys[1]
    assert keys[2] == "mine"


def test_a_batch_is_split_and_answers_keep_their_order(client: Driver, script: Script) -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        results = [
            {"status": 201, "job": job(name=spec["name"])}
            if spec["name"] != "n7"
            else {"status": 422, "problem": {"status": 422, "code": "validation-failed", "detail": "bad"}}
            for spec in json.loads(request.content)["jobs"]
        ]
        return httpx2.Response(200, json={"results": results, "warnings": []})

    script.add(answer, answer)
    answers = client.call("submit_many", [{"image": "a", "name": f"n{i}"} for i in range(1001)], idempotency_key="k")
    assert [len(json.loads(request.content)["jobs"]) for request in script.requests] == [1000, 1]
    assert len({request.headers["idempotency-key"] for request in script.requests}) == 2
    assert [a.job.name for a in answers if a.job] == [f"n{i}" for i in range(1001) if i != 7]
    assert (answers[7].status, answers[7].problem.code) == (422, "validation-failed")


def test_a_batch_answer_of_another_length_is_refused(client: Driver, script: Script) -> None:
    script.add({"results": []})
    with pytest.raises(sdk.UnexpectedAnswer, match="1 jobs"):
        client.call("submit_many", [{"image": "a"}])


def test_a_list_follows_cursors_and_stops_at_its_limit(client: Driver, script: Script) -> None:
    script.add({"jobs": [job(), job()], "next_cursor": "c1"}, {"jobs": [job(), job()], "next_cursor": "c2"})
    since = datetime(2026, 1, 2, tzinfo=UTC)
    jobs = client.call(
        "list",
        state=["queued", "running"],
        queue="etl",
        labels={"a": "b", "c": "d"},
        created_after=since,
        limit=3,
        page_size=2,
    )
    assert len(jobs) == 3
    first, second = (dict(request.url.params) for request in script.requests)
    assert first == {
        "limit": "2",
        "state": "queued,running",
        "queue": "etl",
        "labels": "a=b,c=d",
        "created_after": "2026-01-02T00:00:00+00:00",
    }
    assert (second["cursor"], second["limit"]) == ("c1", "1")


def test_a_list_ends_with_the_last_page(client: Driver, script: Script) -> None:
    script.add({"jobs": [job()], "next_cursor": None})
    assert len(client.call("list")) == 1


def test_a_list_refuses_a_filter_that_does_not_exist(client: Driver, script: Script) -> None:
    with pytest.raises(TypeError, match="stat"):
        client.call("list", stat="failed")
    assert script.requests == []


@pytest.mark.parametrize("type_", [sdk.Client, sdk.AsyncClient])
def test_a_wrong_filter_or_option_is_refused_by_the_call_itself(type_: type[sdk.Client | sdk.AsyncClient]) -> None:
    """An unknown name is an error where it is written, not where the first job or line is read."""
    client = type_("http://127.0.0.1:1", "secret")
    with pytest.raises(TypeError, match="stat"):
        client.list(stat="failed")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="tial"):
        client.logs(JOB_ID, tial=3)  # type: ignore[call-arg]


def test_parts_of_a_job(client: Driver, script: Script) -> None:
    transition = {"to_state": "queued", "from_state": None, "at": "2026-01-01T00:00:00Z", "version": 1, "attempt": 0}
    script.add(
        {"transitions": [transition]},
        {"attempts": [{"number": 1, "cluster_name": "x", "verdict": {"reason": "A"}, "exit_code": 3}]},
        {"image": "a"},
        {"version": "9.9.9"},
    )
    assert client.call("transitions", JOB_ID)[0].to_state == "queued"
    assert client.call("attempts", JOB_ID)[0].exit_code == 3
    assert client.call("spec", JOB_ID) == {"image": "a"}
    assert client.call("version") == {"version": "9.9.9"}
    paths = [request.url.path for request in script.requests]
    assert paths == [
        f"/v1/jobs/{JOB_ID}/transitions",
        f"/v1/jobs/{JOB_ID}/attempts",
        f"/v1/jobs/{JOB_ID}/spec",
        "/v1/version",
    ]


def test_a_job_id_cannot_leave_its_place_in_the_path(client: Driver, script: Script) -> None:
    script.add(problem(404, "not-found"))
    with pytest.raises(sdk.NotFound):
        client.call("get", "../version?x=1")
    assert script.requests[0].url.raw_path == b"/v1/jobs/..%2Fversion%3Fx%3D1"


def test_a_rerun_sends_its_changes_and_a_key(client: Driver, script: Script) -> None:
    script.add(*[httpx2.Response(201, json=job(rerun_of=JOB_ID)) for _ in range(2)])
    made = client.call("rerun", JOB_ID, {"resources.memory": "2Gi", "queue": None})
    client.call("rerun", JOB_ID, force=True, idempotency_key="mine")
    first, second = script.requests
    assert (first.method, first.url.path) == ("POST", f"/v1/jobs/{JOB_ID}:rerun")
    assert json.loads(first.content) == {"set": {"resources.memory": "2Gi", "queue": None}}
    assert json.loads(second.content) == {"set": {}, "force": True}
    assert first.headers["idempotency-key"].startswith("kjr-")
    assert second.headers["idempotency-key"] == "mine"
    assert made.rerun_of == JOB_ID


def test_a_cancel_sends_its_grace(client: Driver, script: Script) -> None:
    script.add(*[httpx2.Response(202, json=job()) for _ in range(2)])
    client.call("cancel", JOB_ID, "why", grace_seconds=0)
    client.call("cancel", JOB_ID)
    assert [json.loads(request.content) for request in script.requests] == [{"reason": "why", "grace_seconds": 0}, {}]


def test_a_timeline_is_read_phase_by_phase(client: Driver, script: Script) -> None:
    phase = {"attempt": 1, "name": "queued", "started_at": "2026-01-01T00:00:00Z", "ended_at": None, "new": 1}
    script.add({"job_id": JOB_ID, "state": "queued", "version": 3, "now": "2026-01-01T00:00:05Z", "phases": [phase]})
    timeline = client.call("timeline", JOB_ID)
    assert (timeline.state, timeline.version, timeline.now.second) == ("queued", 3, 5)
    (read,) = timeline.phases
    assert (read.name, read.ended_at, read.raw["new"]) == ("queued", None, 1)
    assert timeline.raw["phases"] == [phase]


def test_an_explanation_keeps_what_it_does_not_know(client: Driver, script: Script) -> None:
    script.add({"job_id": JOB_ID, "sentence": "It waits.", "attempts": [{"number": 1, "new": 2}], "cause": None})
    explanation = client.call("explain", JOB_ID)
    assert (explanation.sentence, explanation.cause, explanation.attempts) == (
        "It waits.",
        None,
        [{"number": 1, "new": 2}],
    )
    script.add({"sentence": "no id"})
    with pytest.raises(sdk.UnexpectedAnswer, match="explanation"):
        client.call("explain", JOB_ID)


def test_a_simulation_asks_about_jobs_or_failures(client: Driver, script: Script) -> None:
    answer = {"simulations": [{"outcome": "open", "job_id": JOB_ID, "attempts": 1, "decisions": [{"retry": True}]}]}
    script.add(answer, answer)
    (found,) = client.call("simulate", {"attempts": 2}, jobs=[JOB_ID])
    client.call("simulate", {}, failures=[{"reason": "OutOfMemory"}], memory="1Gi")
    assert (found.outcome, found.job_id, found.decisions) == ("open", JOB_ID, [{"retry": True}])
    assert [json.loads(request.content) for request in script.requests] == [
        {"policy": {"attempts": 2}, "jobs": [JOB_ID]},
        {"policy": {}, "failures": [{"reason": "OutOfMemory"}], "memory": "1Gi"},
    ]
    assert {request.url.path for request in script.requests} == {"/v1/retry-policies:simulate"}


def test_a_list_passes_reason_and_rerun_of_on(client: Driver, script: Script) -> None:
    script.add({"jobs": [], "next_cursor": None})
    assert client.call("list", reason="OutOfMemory", rerun_of=JOB_ID) == []
    query = dict(script.requests[0].url.params)
    assert (query["reason"], query["rerun_of"]) == ("OutOfMemory", JOB_ID)
