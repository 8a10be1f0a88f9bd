"""A job whose pod or Job was removed, and whose namespace then refuses a new one for a missing right, ends."""

from __future__ import annotations

from typing import Any

import pytest

from kube_job_runner.domain.decide import removal
from kube_job_runner.domain.decide.decision import Decision
from kube_job_runner.domain.facts import JobFacts
from kube_job_runner.domain.failures import ends
from kube_job_runner.domain.failures.ends import End
from kube_job_runner.domain.spec.model import Retry
from kube_job_runner.domain.states import State
from tests.support.domain import CLUSTER_UID, RULES, after, make_attempt, make_job, with_facts

WHY = 'jobs.batch is forbidden: User "kjr" cannot create resource "jobs"'


def ended(end: End | None, *, reason: str = "Forbidden", seconds: float = 10, **given: Any) -> Decision | None:
    """Return what follows a refused create of the attempt after one that ended so."""
    known_absent = given.pop("known_absent", False)
    verdict = end.verdict(message="gone", container="main", exit_code=3) if end is not None else None
    attempts = {1: make_attempt(verdict=verdict)} if verdict is not None else {}
    job = make_job(State.QUEUED, attempt=len(attempts), retry=Retry(attempts=3), **given)
    return removal.ended(
        job, attempts, reason=reason, why=WHY, known_absent=known_absent, now=after(seconds), rules=RULES
    )


@pytest.mark.parametrize("end", [ends.POD_DELETED, ends.JOB_DELETED, ends.POD_LOST], ids=lambda end: str(end.reason))
def test_what_was_removed_and_may_not_be_made_again_ends_with_the_reason(end: End) -> None:
    decision = ended(end)
    assert decision is not None
    job = decision.job
    assert (job.state, job.reason) == (State.FAILED, "NamespaceTerminating")
    assert all(text in job.explanation for text in (end.verdict(message="gone").explanation, "is deleted", WHY))


@pytest.mark.parametrize("end", [None, ends.APPLICATION_EXIT, ends.DISRUPTED], ids=["first", "failed", "drained"])
def test_a_missing_right_alone_ends_no_job(end: End | None) -> None:
    if end is ends.DISRUPTED:
        end = End(category="disrupted", cause="infrastructure", explanation="moved")
    assert ended(end) is None


def test_a_full_quota_or_an_outage_after_a_removal_ends_no_job() -> None:
    assert ended(ends.POD_DELETED, reason="QuotaExceeded") is None
    assert ended(ends.POD_DELETED, reason="ClusterUnavailable") is None


def test_nothing_ends_while_an_earlier_create_may_still_arrive() -> None:
    until = after(10)
    settled_seconds = 10 + RULES.create_settle_seconds
    assert ended(ends.POD_DELETED, create_until=until, known_absent=True) is None
    assert ended(ends.POD_DELETED, create_until=until, seconds=settled_seconds) is None
    assert ended(ends.POD_DELETED, create_until=until, known_absent=True, seconds=settled_seconds) is not None


def test_only_a_job_that_was_reported_gone_counts_as_gone_when_the_look_is_forbidden() -> None:
    gone = with_facts(make_attempt(), JobFacts(uid=CLUSTER_UID, gone=True))
    assert removal.stays_gone(gone, "Forbidden")
    assert not removal.stays_gone(gone, "ClusterUnavailable")
    assert not removal.stays_gone(make_attempt(), "Forbidden")
