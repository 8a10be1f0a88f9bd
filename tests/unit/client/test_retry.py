"""Which faults and answers are retried, how often, after which delays, and with which key."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta

import httpx2
import pytest

from kube_job_runner import client as sdk
from kube_job_runner.client import retry
from tests.unit.client.conftest import JOB_ID, Clock, Driver, Script, job


@pytest.mark.parametrize(
    "fault",
    [
        httpx2.ConnectError("refused"),
        httpx2.ConnectTimeout("slow"),
        httpx2.ReadTimeout("silence"),
        httpx2.ReadError("reset"),
        httpx2.RemoteProtocolError("closed"),
        *[httpx2.Response(status) for status in (408, 429, 502, 503, 504)],
        httpx2.Response(500, json={"retryable": True}),
    ],
    ids=repr,
)
def test_a_lost_answer_is_asked_for_again_with_the_same_key(client: Driver, script: Script, fault: object) -> None:
    script.add(fault, fault, httpx2.Response(201, json=job()))  # type: ignore[arg-type]
    assert client.call("submit", image="a").id == JOB_ID
    keys = {request.headers["idempotency-key"] for request in script.requests}
    bodies = {request.content for request in script.requests}
    assert (len(script.requests), len(keys), len(bodies)) == (3, 1, 1)
    assert len(script.clock.slept) == 2


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 422, 500, 501])
def test_a_refusal_is_not_asked_again(client: Driver, script: Script, status: int) -> None:
    script.add(httpx2.Response(status, json={"retryable": False}))
    with pytest.raises(sdk.ApiError):
        client.call("submit", image="a")
    assert script.clock.slept == []


def test_a_conflict_is_not_asked_again_even_when_it_may_pass(client: Driver, script: Script) -> None:
    script.add(httpx2.Response(409, json={"retryable": True, "code": "log-not-ready"}))
    with pytest.raises(sdk.Conflict):
        client.call("get", JOB_ID)


def test_retry_after_is_obeyed(client: Driver, script: Script) -> None:
    script.add(httpx2.Response(503, headers={"retry-after": "7"}), job())
    client.call("get", JOB_ID)
    assert 7.0 <= script.clock.slept[0] < 8.0


def test_a_retry_after_beyond_the_budget_ends_at_once(client: Driver, script: Script) -> None:
    script.add(httpx2.Response(429, headers={"retry-after": "3600"}, json={"detail": "slow down", "code": "x"}))
    with pytest.raises(sdk.RateLimited, match="slow down"):
        client.call("get", JOB_ID)
    assert script.clock.slept == []


def test_the_budget_ends_the_tries(client: Driver, script: Script) -> None:
    script.add(*[httpx2.ConnectError("refused")] * 100)
    with pytest.raises(sdk.ConnectionFailed, match=r"http://kjr\.test.*refused"):
        client.call("get", JOB_ID, retry=sdk.RetryPolicy(budget_seconds=20))
    assert sum(script.clock.slept) <= 20
    assert len(script.requests) > 3


def test_a_budget_of_nothing_means_one_try(client: Driver, script: Script) -> None:
    script.add(httpx2.ConnectError("refused"))
    with pytest.raises(sdk.ConnectionFailed):
        client.call("get", JOB_ID, retry=sdk.RetryPolicy(budget_seconds=0))


def test_a_server_that_was_never_reached_has_a_budget_of_its_own(client: Driver, script: Script) -> None:
    policy = sdk.RetryPolicy(budget_seconds=20, unreached_seconds=1)
    script.add(*[httpx2.ConnectError("refused")] * 100)
    with pytest.raises(sdk.errors.Unreached):
        client.call("get", JOB_ID, retry=policy)
    assert sum(script.clock.slept) <= 1


@pytest.mark.parametrize("first", [httpx2.ReadError("reset"), httpx2.Response(503)])
def test_a_server_that_was_reached_once_is_waited_for(client: Driver, script: Script, first: object) -> None:
    policy = sdk.RetryPolicy(budget_seconds=20, unreached_seconds=1)
    script.add(first, *[httpx2.ConnectError("refused")] * 100)  # type: ignore[arg-type]
    with pytest.raises(sdk.ConnectionFailed) as caught:
        client.call("get", JOB_ID, retry=policy)
    assert not isinstance(caught.value, sdk.errors.Unreached)
    assert sum(script.clock.slept) > 10


def test_a_certificate_that_is_not_trusted_is_not_tried_again(client: Driver, script: Script) -> None:
    fault = httpx2.ConnectError("certificate verify failed")
    fault.__cause__ = ssl.SSLCertVerificationError("certificate verify failed")
    script.add(fault)
    with pytest.raises(sdk.ConnectionFailed, match="certificate"):
        client.call("get", JOB_ID)


def test_the_caller_hears_of_each_try(script: Script, clock: Clock) -> None:
    heard: list[tuple[str, float]] = []
    script.add(httpx2.ConnectError("refused"), job())
    with sdk.Client(
        "http://kjr.test",
        transport=httpx2.MockTransport(script),
        sleep=clock.sleep,
        monotonic=clock.monotonic,
        on_retry=lambda why, delay: heard.append((why, delay)),
    ) as client:
        client.get(JOB_ID)
    assert len(heard) == 1
    assert "refused" in heard[0][0]
    assert heard[0][1] == clock.slept[0]


def test_delays_double_with_jitter_up_to_their_maximum() -> None:
    policy = retry.RetryPolicy(budget_seconds=1e9)
    longest = [retry.decide(policy, failures=n, elapsed_seconds=0, jitter=lambda: 1.0) for n in (1, 2, 3, 6, 7, 99)]
    shortest = [retry.decide(policy, failures=n, elapsed_seconds=0, jitter=lambda: 0.0) for n in (1, 2, 3, 6, 7, 99)]
    assert longest == pytest.approx([0.2, 0.4, 0.8, 6.4, 10.0, 10.0])
    assert shortest == pytest.approx([0.1, 0.2, 0.4, 3.2, 5.0, 5.0])


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("", None),
        ("12", 12.0),
        ("-1", None),
        ("soon", None),
        ("99999999999", 86_400.0),
        ("Thu, 01 Jan 2026 00:00:30 GMT", 30.0),
        ("Wed, 31 Dec 2025 00:00:00 GMT", 0.0),
    ],
)
def test_retry_after_is_a_number_or_a_date(value: str | None, seconds: float | None) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert retry.parse_retry_after(value, now=lambda: now + timedelta(0)) == seconds
