"""The arithmetic of the retry policy."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from kube_job_runner.client import retry


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
