"""Clocks that wait for the cluster to show something count the time in which somebody watched, and nothing else."""

from __future__ import annotations

import pytest

from kube_job_runner.domain.decide.decision import Look
from kube_job_runner.domain.freshness import HORIZON_SECONDS, Freshness, Watched
from kube_job_runner.domain.job import Attempt, Job
from kube_job_runner.domain.messages import Delete
from kube_job_runner.domain.spec.model import Timeouts
from kube_job_runner.domain.states import State
from tests.support.domain import (
    RULES,
    after,
    apply,
    decide,
    ended,
    job_facts,
    make_attempt,
    make_job,
    pod_facts,
    running,
    waiting,
    with_facts,
)

NOT_FOUND = 'failed to pull image "tool:1": rpc error: code = NotFound desc = not found'
STARTING = make_job(State.STARTING, timeouts=Timeouts(start_seconds=60, run_seconds=100))
SHORT = 4.0


def dark(*intervals: tuple[float, float], known_until: float = 10_000, broken: bool = False) -> Freshness:
    times = tuple((after(begin), after(end)) for begin, end in intervals)
    watch = Watched(
        kind="pod",
        namespace="*",
        known_until=after(known_until),
        reported_at=after(1_000_000),
        broken=broken,
        dark=times,
    )
    return Freshness({("pod", "*"): watch})


def is_over(job: Job, attempt: Attempt, seconds: float, watched: Freshness) -> bool:
    return isinstance(decide(job, attempt, now=after(seconds), watched=watched, looked=False).effect, Look)


def first_over(job: Job, attempt: Attempt, watched: Freshness, *, limit: int = 2000) -> int:
    """Return the first second in which a decision asks for the look before its verdict."""
    return next(second for second in range(limit) if is_over(job, attempt, second, watched))


def creating() -> Attempt:
    return with_facts(make_attempt(), pod_facts(waiting("ContainerCreating")))


def unhealthy() -> Attempt:
    attempt = with_facts(make_attempt(), pod_facts(waiting("ErrImagePull", NOT_FOUND)))
    return apply(decide(STARTING, attempt), {1: attempt})[1][1]


def test_the_start_timeout_counts_watched_time() -> None:
    assert first_over(STARTING, creating(), Freshness()) == 60
    assert first_over(STARTING, creating(), dark((10, 10 + SHORT))) == 64
    assert first_over(STARTING, creating(), dark((10, 40))) == 60 + 30 + 15, "with the time of the nodes to tell"


def test_a_grace_counts_watched_time_since_the_signal() -> None:
    assert first_over(STARTING, unhealthy(), Freshness()) == 45
    assert first_over(STARTING, unhealthy(), dark((20, 20 + SHORT))) == 49
    assert first_over(STARTING, unhealthy(), dark((-100, -90))) == 45


def test_a_flapping_watch_does_not_start_a_clock_again() -> None:
    flaps = [(second, second + 1.0) for second in range(0, 2000, 2)]
    assert first_over(STARTING, unhealthy(), dark(*flaps)) == 90


def test_the_wait_for_the_facts_of_a_pod_counts_watched_time() -> None:
    job = make_job(State.RUNNING)
    failed = with_facts(make_attempt(), pod_facts(running(), phase="Running"), job_facts("Failed", rv=20))
    attempt = apply(decide(job, failed, now=after(5)), {1: failed})[1][1]
    assert first_over(job, attempt, Freshness()) == 35
    assert first_over(job, attempt, dark((10, 10 + SHORT))) == 39


def test_the_wait_for_the_end_of_a_job_whose_program_has_ended_counts_watched_time() -> None:
    attempt = with_facts(make_attempt(), pod_facts(ended(0), phase="Succeeded", rv=12))
    job = make_job(State.RUNNING, cancelled=True)
    assert first_over(job, attempt, Freshness()) == RULES.finishing_bound_seconds
    assert first_over(job, attempt, dark((10, 10 + SHORT))) == RULES.finishing_bound_seconds + SHORT


def test_a_pod_is_removed_by_force_only_after_a_delete_could_reach_its_node() -> None:
    job = make_job(State.RUNNING, cancelled=True)
    attempt = with_facts(make_attempt(logs="following"), pod_facts(running(), phase="Running"))
    job, attempts = apply(decide(job, attempt), {1: attempt})
    late = 30 + RULES.force_after_seconds
    [forced] = decide(job, attempts[1], now=after(late)).messages
    assert isinstance(forced.message, Delete)
    assert forced.message.grace_seconds == 0
    outage = decide(job, attempts[1], now=after(late), watched=dark((0, late - 1)))
    assert outage.anomalies == ()
    assert all(sent.message.grace_seconds != 0 for sent in outage.messages if isinstance(sent.message, Delete))


def test_the_run_timeout_counts_all_time_because_the_program_runs_on() -> None:
    job = make_job(State.RUNNING, timeouts=Timeouts(run_seconds=100))
    attempt = with_facts(make_attempt(started_at=after(0)), pod_facts(running(0), phase="Running"))
    assert first_over(job, attempt, dark((10, 90))) == 100


@pytest.mark.parametrize("watched", [dark(known_until=5, broken=True), dark(known_until=-200)])
def test_while_nobody_watches_no_clock_ends_and_nothing_is_asked_every_second(watched: Freshness) -> None:
    for seconds in (59, 60, 61, 900):
        decision = decide(STARTING, creating(), now=after(seconds), watched=watched, looked=False)
        assert (decision.effect, decision.transitions) == (None, ())
        assert decision.job.next_check_at is not None
        assert decision.job.next_check_at >= after(seconds + 5)


def test_no_clock_is_extended_for_ever() -> None:
    away = dark(known_until=0, broken=True)
    assert not is_over(STARTING, creating(), HORIZON_SECONDS, away)
    assert is_over(STARTING, creating(), HORIZON_SECONDS + 60, away)
