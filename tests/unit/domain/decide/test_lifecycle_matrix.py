"""The lifecycle on its full matrix: every state against every trigger, and every answer a legal transition."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import msgspec
import pytest

from kube_job_runner.domain import states
from kube_job_runner.domain.decide import creation
from kube_job_runner.domain.job import Attempt, Job, Verdict
from kube_job_runner.domain.spec.model import Retry, Timeouts
from kube_job_runner.domain.states import TERMINAL, State
from tests.support.domain import (
    RULES,
    T0,
    after,
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

Q, S, R, P = State.QUEUED, State.STARTING, State.RUNNING, State.STOPPING
OK, F, C = State.SUCCEEDED, State.FAILED, State.CANCELLED
STATES = [Q, S, R, P, OK, F, C]

TIMEOUTS = Timeouts(queue_seconds=1000, start_seconds=2000, run_seconds=3000)

CANCEL = make_job(cancelled=True).cancel
RUN_TIMEOUT = Verdict(outcome=F, reason="RunTimeout", cause="application")

Trigger = Callable[[Job, Attempt], tuple[Job, Attempt, float]]


def facts(*seen, seconds: float = 5) -> Trigger:  # type: ignore[no-untyped-def]
    return lambda job, attempt: (job, with_facts(attempt, *seen), seconds)


def cancel(job: Job, attempt: Attempt) -> tuple[Job, Attempt, float]:
    cancelled = make_job(job.state, cancelled=True, timeouts=TIMEOUTS, reason=job.reason)
    return cancelled, attempt, 5


TRIGGERS: dict[str, Trigger] = {
    "nothing new": facts(),
    "cancel": cancel,
    "pod waits": facts(pod_facts(waiting("ContainerCreating"))),
    "pod can never start": facts(pod_facts(waiting("InvalidImageName", "bad"))),
    "pod runs": facts(pod_facts(running(), phase="Running")),
    "pod ended": facts(pod_facts(ended(0), phase="Succeeded")),
    "job finishing": facts(job_facts("SuccessCriteriaMet", rv=20), pod_facts(ended(0), phase="Succeeded")),
    "job complete": facts(job_facts("SuccessCriteriaMet", "Complete", rv=20), pod_facts(ended(0), phase="Succeeded")),
    "job failed": facts(job_facts("Failed", rv=20), pod_facts(ended(3), phase="Failed")),
    "job failed, pod unseen": facts(job_facts("Failed", rv=20)),
    "job gone": facts(job_facts(rv=20, gone=True)),
    "job gone, pod ended": facts(job_facts(rv=20, gone=True), pod_facts(ended(143), phase="Failed")),
    "job gone, pod runs": facts(job_facts(rv=20, gone=True), pod_facts(running(), phase="Running")),
    "queue timeout": facts(seconds=1000),
    "start timeout": facts(seconds=2000),
    "run timeout": facts(pod_facts(running(), phase="Running"), seconds=3001),
}

# For each trigger, the state that follows each of: queued, starting, running, stopping, succeeded, failed, cancelled.
# `queued` does not look at facts: a queued job has no attempt in the cluster that could speak.
EXPECTED: dict[str, tuple[State, ...]] = {
    "nothing new": (Q, S, R, P, OK, F, C),
    "cancel": (C, P, P, P, OK, F, C),
    "pod waits": (Q, S, R, P, OK, F, C),
    "pod can never start": (Q, F, F, P, OK, F, C),
    "pod runs": (Q, R, R, P, OK, F, C),
    "pod ended": (Q, R, R, P, OK, F, C),
    "job finishing": (Q, R, R, P, OK, F, C),
    "job complete": (Q, OK, OK, OK, OK, F, C),
    "job failed": (Q, F, F, F, OK, F, C),
    "job failed, pod unseen": (Q, S, R, P, OK, F, C),
    "job gone": (Q, P, P, P, OK, F, C),
    "job gone, pod ended": (Q, F, F, C, OK, F, C),
    "job gone, pod runs": (Q, P, P, P, OK, F, C),
    "queue timeout": (F, S, R, P, OK, F, C),
    "start timeout": (F, F, F, P, OK, F, C),
    "run timeout": (F, P, P, P, OK, F, C),
}


def scene(state: State) -> tuple[Job, Attempt]:
    job = make_job(state, timeouts=TIMEOUTS, reason="Earlier" if state in TERMINAL else "")
    attempt = make_attempt()
    if state is P:
        attempt = make_attempt(verdict=Verdict(outcome=C, reason="Cancelled"), decided_at=T0, delete_requested_at=T0)
    elif state in TERMINAL:
        attempt = make_attempt(verdict=Verdict(outcome=state, reason="Earlier"), decided_at=T0)
    return job, attempt


@pytest.mark.parametrize("name", TRIGGERS)
@pytest.mark.parametrize("state", STATES)
def test_every_state_meets_every_trigger(state: State, name: str) -> None:
    job, attempt = scene(state)
    job, attempt, seconds = TRIGGERS[name](job, attempt)
    attempts = () if state is Q else (attempt,)
    decision = decide(job, *attempts, now=after(seconds), known_absent=state is Q)
    assert decision.job.state is EXPECTED[name][STATES.index(state)]
    previous = job.state
    for transition in decision.transitions:
        assert transition.from_state is previous
        assert transition.to_state in states.NEXT[previous]
        previous = transition.to_state
    assert previous is decision.job.state
    if decision.job.state in TERMINAL:
        assert decision.job.reason, "a terminal state names its evidence (promise I5)"
    else:
        assert decision.effect or decision.job.next_check_at, "a live job is always looked at again (promise I6)"


def test_every_state_of_the_matrix_and_the_table_is_covered() -> None:
    assert set(STATES) == set(State) == set(states.NEXT)
    assert TRIGGERS.keys() == EXPECTED.keys()


def taken(job: Job, *attempts: Attempt, seconds: float) -> Iterator[tuple[State | None, State]]:
    """Yield the steps of a decision about this job: as it is, with retries left, with a cancel, and with both."""
    for retry, cancel in itertools.product((job.policy.retry, Retry(attempts=3)), (job.cancel, CANCEL)):
        policy = msgspec.structs.replace(job.policy, retry=retry)
        varied = msgspec.structs.replace(job, policy=policy, cancel=cancel)
        for step in decide(varied, *attempts, now=after(seconds), known_absent=job.state is Q).transitions:
            yield step.from_state, step.to_state


def test_the_table_holds_exactly_the_steps_that_decisions_take() -> None:
    made = creation.created(make_job(), {}, make_attempt(), job_facts(), now=T0, rules=RULES)
    steps = {(None, Q), *((step.from_state, step.to_state) for step in made.transitions)}
    for state, trigger in itertools.product(STATES, TRIGGERS.values()):
        job, attempt, seconds = trigger(*scene(state))
        if state is Q:
            steps |= set(taken(job, seconds=seconds))
            continue
        steps |= set(taken(job, attempt, seconds=seconds))
        if state is P:
            failed = msgspec.structs.replace(attempt, verdict=RUN_TIMEOUT)
            steps |= set(taken(job, failed, seconds=seconds))
    assert steps == {(step.from_state, step.to_state) for step in states.STEPS}
