"""Whether there is another attempt, and when. Pure arithmetic: the jitter comes from the job's id, not from a dice."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from uuid import UUID

from kube_job_runner.domain.job import Verdict
from kube_job_runner.domain.spec import Retry

JITTER = 0.1  # of the delay, up or down, so that jobs that failed together do not come back together


def decide(verdict: Verdict, *, attempts: int, policy: Retry, job_id: UUID) -> timedelta | None:
    """Return how long to wait before the next attempt, or None when there is none.

    `attempts` is how many there have been, the one that failed included. The delay is `backoff_seconds` times
    `backoff_factor` for each earlier retry, at most `max_backoff_seconds`, give or take a tenth.
    """
    if not verdict.retryable or attempts >= policy.attempts:
        return None
    delay_seconds = policy.backoff_seconds
    for _ in range(attempts - 1):
        delay_seconds = min(delay_seconds * policy.backoff_factor, policy.max_backoff_seconds)
    delay_seconds = min(delay_seconds, policy.max_backoff_seconds)
    return timedelta(seconds=delay_seconds * (1 + JITTER * _spread(job_id, attempts)))


def _spread(job_id: UUID, attempts: int) -> float:
    digest = hashlib.blake2b(job_id.bytes + attempts.to_bytes(2, "big"), digest_size=4).digest()
    return int.from_bytes(digest, "big") / 0x7FFFFFFF - 1
