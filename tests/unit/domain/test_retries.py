"""Retries, as arithmetic."""

from __future__ import annotations

import pytest

from kube_job_runner.domain import retries
from kube_job_runner.domain.job import State, Verdict
from kube_job_runner.domain.names import new_job_id
from kube_job_runner.domain.spec import Retry
from tests.support.domain import JOB_ID, T0

FAILED = Verdict(outcome=State.FAILED, reason="ApplicationExit", retryable=True)


@pytest.mark.parametrize(
    ("attempts", "policy", "seconds"),
    [
        (1, Retry(attempts=1), None),
        (1, Retry(attempts=3), 10),
        (2, Retry(attempts=3), 20),
        (3, Retry(attempts=3), None),
        (3, Retry(attempts=9, backoff_factor=1), 10),
        (7, Retry(attempts=9), 600),
        (2, Retry(attempts=9, backoff_seconds=30, max_backoff_seconds=40), 40),
        (1, Retry(attempts=9, backoff_seconds=900, max_backoff_seconds=40), 40),
        (1, Retry(attempts=9, backoff_seconds=0), 0),
        (19, Retry(attempts=20, backoff_seconds=86400, backoff_factor=10, max_backoff_seconds=86400), 86400),
    ],
)
def test_the_delay_grows_up_to_its_maximum(attempts: int, policy: Retry, seconds: float | None) -> None:
    delay = retries.decide(FAILED, attempts=attempts, policy=policy, job_id=JOB_ID)
    if seconds is None:
        assert delay is None
    else:
        assert delay is not None
        assert delay.total_seconds() == pytest.approx(seconds, rel=retries.JITTER)


def test_a_permanent_failure_is_not_retried() -> None:
    verdict = Verdict(outcome=State.FAILED, reason="ImageNotFound")
    assert retries.decide(verdict, attempts=1, policy=Retry(attempts=9), job_id=JOB_ID) is None


def test_jobs_that_failed_together_do_not_come_back_together() -> None:
    delays = {retries.decide(FAILED, attempts=1, policy=Retry(attempts=2), job_id=new_job_id(T0)) for _ in range(50)}
    assert len(delays) > 40


def test_the_same_failure_is_decided_the_same_way_twice() -> None:
    first = retries.decide(FAILED, attempts=1, policy=Retry(attempts=2), job_id=JOB_ID)
    assert first == retries.decide(FAILED, attempts=1, policy=Retry(attempts=2), job_id=JOB_ID)
