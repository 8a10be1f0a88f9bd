"""Waiting ends at a terminal state, or when its time is over, and at nothing else."""

from __future__ import annotations

import httpx2
import pytest

from kube_job_runner import client as sdk
from tests.unit.client.conftest import JOB_ID, Driver, Script, job


def test_a_wait_polls_with_the_version_it_knows_until_the_end(client: Driver, script: Script) -> None:
    script.add(job("queued", 1), job("starting", 2), job("running", 3), job("succeeded", 4, exit_code=0))
    assert client.call("wait", JOB_ID).state == "succeeded"
    params = [dict(request.url.params) for request in script.requests]
    assert params == [{}, *({"wait": "30s", "since": str(version)} for version in (1, 2, 3))]


def test_a_poll_that_ends_without_a_change_goes_on_and_never_spins(client: Driver, script: Script) -> None:
    script.add(job("running", 3), *[job("running", 3)] * 5, job("succeeded", 4))
    client.call("wait", JOB_ID)
    assert script.clock.slept == [1.0] * 5


def test_a_lost_link_is_no_end(client: Driver, script: Script) -> None:
    script.add(job("running", 3), httpx2.RemoteProtocolError("cut"), httpx2.Response(503), job("succeeded", 4))
    assert client.call("wait", JOB_ID).succeeded


def test_a_wait_bears_an_outage_beyond_the_budget_of_a_call(client: Driver, script: Script) -> None:
    script.add(job("running", 3), *[httpx2.ConnectError("down")] * 40, job("succeeded", 4))
    policy = sdk.RetryPolicy(budget_seconds=5, unreached_seconds=1)  # the server was reached once
    client.call("wait", JOB_ID, retry=policy, outage_seconds=600)
    assert 60 < sum(script.clock.slept) < 600


def test_a_wait_gives_up_when_the_outage_lasts(client: Driver, script: Script) -> None:
    script.add(job("running", 3), *[httpx2.ConnectError("down")] * 40)
    with pytest.raises(sdk.ConnectionFailed):
        client.call("wait", JOB_ID, outage_seconds=60)


@pytest.mark.parametrize(("state", "kind"), [("failed", sdk.JobFailed), ("cancelled", sdk.JobCancelled)])
def test_a_job_that_did_not_succeed_is_an_error_with_its_record(
    client: Driver, script: Script, state: str, kind: type[sdk.JobFailed]
) -> None:
    ended = job(state, 5, reason="OutOfMemory", explanation="Used too much.", exit_code=137)
    script.add(ended, ended)
    with pytest.raises(kind, match=r"OutOfMemory: Used too much\.") as caught:
        client.call("wait", JOB_ID)
    assert type(caught.value) is kind
    assert (caught.value.exit_code, caught.value.reason, caught.value.job.version) == (137, "OutOfMemory", 5)
    assert client.call("wait", JOB_ID, check=False).state == state


def test_a_wait_that_is_over_names_the_state(client: Driver, script: Script) -> None:
    def slowly(request: httpx2.Request) -> httpx2.Response:
        script.clock.now += float(request.url.params["wait"].rstrip("s"))
        return httpx2.Response(200, json=job("running", 3))

    script.add(job("running", 3), *[slowly] * 3)
    with pytest.raises(sdk.WaitTimeout, match="still running after 70 s") as caught:
        client.call("wait", JOB_ID, timeout=70)
    assert isinstance(caught.value, TimeoutError)
    assert caught.value.job.state == "running"
    assert [request.url.params.get("wait") for request in script.requests] == [None, "30s", "30s", "10s"]


def test_run_submits_and_waits(client: Driver, script: Script) -> None:
    script.add(httpx2.Response(201, json=job()), job("running", 2), job("failed", 3, exit_code=3))
    with pytest.raises(sdk.JobFailed) as caught:
        client.call("run", "busybox", ["sh", "-c", "exit 3"], queue="etl")
    assert caught.value.exit_code == 3
    assert b'"queue":"etl"' in script.requests[0].content


def test_changes_yields_each_version_once(client: Driver, script: Script) -> None:
    script.add(job("queued", 1), job("queued", 1), job("running", 3), job("succeeded", 4))
    assert [seen.version for seen in client.call("changes", JOB_ID)] == [1, 3, 4]
