"""What answers of the API server mean, beyond what the requests' own tests go through."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kube_job_runner.adapters.kubernetes import answers
from kube_job_runner.adapters.kubernetes.answers import Answer
from kube_job_runner.domain.errors import ClusterRefused, TemporaryError


@pytest.mark.parametrize(
    ("header", "seconds"),
    [({}, 0.0), ({"Retry-After": "7"}, 7.0), ({"Retry-After": "99999"}, 300.0), ({"Retry-After": "-1"}, 0.0),
     ({"Retry-After": "Wed, 25 Nov 2026 10:00:00 GMT"}, 0.0), ({"Retry-After": "²"}, 0.0)],
)  # fmt: skip
def test_retry_after(header: dict[str, str], seconds: float) -> None:
    assert answers.retry_after(header) == seconds


@pytest.mark.parametrize(
    ("status", "body", "missing"),
    [
        (404, {"kind": "Status", "reason": "NotFound"}, True),
        (404, {"kind": "Status", "reason": "Whatever"}, False),
        (404, {"reason": "NotFound"}, False),
        (404, "404 page not found", False),
        (410, {"kind": "Status", "reason": "NotFound"}, False),
        (200, {"kind": "Status", "reason": "NotFound"}, False),
    ],
)
def test_only_the_api_server_itself_can_say_that_something_is_missing(status: int, body: Any, missing: bool) -> None:
    raw = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    assert Answer(status, raw).missing is missing


def test_a_delay_is_never_below_what_was_asked_and_never_far_above() -> None:
    delays = [answers.temporary("x", delay_seconds=1.0, at_least=7.0).delay_seconds for _ in range(200)]
    assert min(delays) >= 7.0
    assert max(delays) <= 7.0 * 1.25
    assert len(set(delays)) > 100  # callers do not come back together


def test_a_refusal_seen_by_a_caller_that_cannot_be_refused_is_temporary() -> None:
    error = answers.as_temporary(ClusterRefused("no", reason="Forbidden"))
    assert isinstance(error, TemporaryError)
    assert error.reason == "Forbidden"
    assert error.delay_seconds >= 30.0


def test_texts_are_bounded() -> None:
    body = json.dumps({"kind": "Status", "message": "x" * 100_000, "reason": "Invalid"}).encode()
    assert len(str(answers.refusal(Answer(422, body), action="creating"))) < 1200
    assert len(str(answers.refusal(Answer(500, b"y" * 100_000), action="creating"))) < 1200


@given(
    st.integers(300, 599),
    st.binary(max_size=60) | st.sampled_from([b'{"kind":"Status"}', b'{"kind":"Status","message":null,"code":"x"}']),
)
def test_any_answer_becomes_one_of_two_errors(status: int, body: bytes) -> None:
    error = answers.refusal(Answer(status, body), action="x")
    assert isinstance(error, (ClusterRefused, TemporaryError))
    assert error.reason
    if isinstance(error, ClusterRefused):
        assert status in (400, 403, 404, 413, 422)
