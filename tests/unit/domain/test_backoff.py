"""Backoff: delays grow up to their maximum, for ever, and are spread within their bounds."""

from __future__ import annotations

import pytest

from kube_job_runner.domain import backoff
from kube_job_runner.domain.backoff import Backoff


def test_delays_double_up_to_the_most_and_begin_again() -> None:
    delays = Backoff(first_seconds=0.1, max_seconds=3.0)
    for count, delay in enumerate(delays.next() for _ in range(2000)):
        most = min(0.1 * 2**count, 3.0) if count < 30 else 3.0
        assert most / 2 <= delay <= most
    delays.reset()
    assert delays.next() <= 0.1


@pytest.mark.parametrize(
    ("failures", "factor", "seconds"), [(1, 2.0, 0.5), (3, 2.0, 2.0), (4, 1.0, 0.5), (9, 2.0, 60.0), (5000, 10.0, 60.0)]
)
def test_a_delay_grows_by_its_factor_and_never_overflows(failures: int, factor: float, seconds: float) -> None:
    assert backoff.delay_seconds(failures, first_seconds=0.5, max_seconds=60.0, factor=factor) == seconds


@pytest.mark.parametrize(("share", "seconds"), [(0.0, 5.0), (0.5, 7.5), (1.0, 10.0)])
def test_a_given_random_number_gives_the_same_delay(share: float, seconds: float) -> None:
    assert backoff.spread(10.0, backoff.UPPER_HALF, random_share=lambda: share) == seconds


def test_exact_delays_are_not_spread() -> None:
    assert [Backoff(first_seconds=0.2, max_seconds=5.0, over=backoff.EXACT).next() for _ in range(3)] == [0.2] * 3
