"""How a namespace is parked and opened, trial by trial."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from kube_job_runner.domain.decide import creation, lifecycle, parking
from kube_job_runner.domain.decide.parking import Parking, Trial
from kube_job_runner.domain.states import State
from tests.support.domain import RULES, after, decide, make_job

REFUSED = Trial(namespace="team-a", outcome="refused", reason="QuotaExceeded", explanation="exceeded quota: few")
PROBED = msgspec.structs.replace(REFUSED, probe=True)
CREATED = Trial(namespace="team-a", outcome="created", probe=True)
UNKNOWN = Trial(namespace="team-a", outcome="unknown", probe=True)


def parked(**fields: Any) -> Parking:
    first = parking.after(None, REFUSED, after(0))
    assert first is not None
    return msgspec.structs.replace(first, **fields)


def test_a_refusal_parks_the_namespace_and_one_job_tries_again_soon() -> None:
    one = parked()
    assert (one.namespace, one.reason, one.explanation) == ("team-a", "QuotaExceeded", "exceeded quota: few")
    assert (one.since, one.probe_at, one.allowance) == (after(0), after(parking.FIRST_SECONDS), 1)


def test_refused_probes_come_less_and_less_often_up_to_a_bound() -> None:
    one: Parking | None = parked()
    now, waits = 1.0, []
    for _ in range(9):
        one = parking.after(one, PROBED, after(now))
        assert one is not None
        assert (one.since, one.allowance) == (after(0), 1)
        waits.append((one.probe_at - after(now)).total_seconds())
        now += waits[-1]
    assert waits == [2, 4, 8, 16, 30, 30, 30, 30, 30]


def test_refusals_of_jobs_that_were_admitted_before_do_not_count_as_probes() -> None:
    one = parking.after(parked(), REFUSED, after(0.5))
    assert one is not None
    assert (one.tries, one.probe_at) == (1, after(1.5))
    waits = parking.after(parked(tries=5, probe_at=after(30)), REFUSED, after(2))
    assert waits is not None
    assert (waits.tries, waits.probe_at) == (5, after(30))


def test_each_success_doubles_what_may_follow_until_the_namespace_is_open() -> None:
    one: Parking | None = parked(tries=7)
    admitted = 0
    while one is not None:
        admitted += one.allowance
        one = parking.after(one, CREATED, after(100))
        assert one is None or (one.probe_at, one.tries) == (after(100), 0)
    assert admitted == 2 * parking.OPEN_AT - 1


def test_a_round_that_fills_the_last_room_starts_again_with_one_and_soon() -> None:
    [mixed] = parking.joined([CREATED, PROBED, CREATED])
    one = parking.after(parked(tries=7, allowance=8), mixed, after(100))
    assert one is not None
    assert (one.allowance, one.tries, one.probe_at) == (1, 1, after(101))


def test_a_probe_without_an_answer_says_nothing() -> None:
    one = parking.after(parked(tries=4), UNKNOWN, after(100))
    assert one is not None
    assert (one.tries, one.allowance, one.probe_at) == (4, 1, after(101))
    assert parking.after(None, UNKNOWN, after(100)) is None


def test_a_create_that_was_no_probe_opens_nothing() -> None:
    late = msgspec.structs.replace(CREATED, probe=False)
    assert parking.after(parked(), late, after(100)) == parked()


def test_trials_are_joined_by_namespace_in_order() -> None:
    other = msgspec.structs.replace(CREATED, namespace="a")
    joined = parking.joined([UNKNOWN, REFUSED, other])
    assert [(one.namespace, one.outcome, one.probe) for one in joined] == [
        ("a", "created", True),
        ("team-a", "refused", True),
    ]
    assert joined[1].explanation == "exceeded quota: few"


@pytest.mark.parametrize(
    ("reason", "says"), [("QuotaExceeded", "raises the quota"), ("Forbidden", "grant it the right")]
)
def test_a_job_of_a_parked_namespace_gives_its_slot_back_and_says_what_to_do(reason: str, says: str) -> None:
    refused = msgspec.structs.replace(REFUSED, reason=reason)
    decision = creation.parked(make_job(), {}, refused, now=after(10), rules=RULES)
    job = decision.job
    assert (job.state, job.admitted_at, job.due_at) == (State.QUEUED, None, make_job().due_at)
    assert not job.in_flight
    assert job.next_check_at == job.queue_deadline
    assert job.explanation.startswith("Waiting to be created: exceeded quota: few. ")
    assert says in job.explanation


def test_a_job_that_was_never_tried_ends_with_the_words_of_its_namespace() -> None:
    job = make_job(admitted_at=None)
    words = parking.words("team-a", "QuotaExceeded", "exceeded quota: few")
    ended = lifecycle.decide(job, {}, now=job.queue_deadline, rules=RULES, parked=words).job
    assert (ended.state, ended.reason) == (State.FAILED, "QueueTimeout")
    assert "exceeded quota: few" in ended.explanation
    assert decide(job, now=job.queue_deadline).job.state is State.FAILED


PODS = Trial(namespace="team-a", outcome="refused", reason=parking.PODS_REFUSED, explanation="The quota is used up.")


def test_a_namespace_whose_quota_refuses_pods_lets_the_jobs_that_wait_there_find_the_room() -> None:
    one = parking.after(None, PODS, after(0))
    assert one is not None
    assert (one.reason, one.allowance, one.probe_at) == (parking.PODS_REFUSED, 1, after(parking.PODS_SECONDS))
    tried = parking.after(one, CREATED, after(400))
    assert tried is not None
    assert (tried.allowance, tried.probe_at) == (1, after(700)), "that its Job was made says nothing about its pod"
    again = parking.after(tried, PODS, after(402))
    assert again is not None
    assert (again.since, again.allowance, again.probe_at) == (after(0), 1, after(702))


def test_a_quota_that_refuses_jobs_counts_before_one_that_refuses_pods() -> None:
    assert parking.after(parked(), PODS, after(5)) == parked()
    full = parking.after(parking.after(None, PODS, after(0)), REFUSED, after(5))
    assert full is not None
    assert (full.reason, full.probe_at) == ("QuotaExceeded", after(6))
