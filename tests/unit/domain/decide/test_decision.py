"""The builder of a decision takes legal steps only, and counts versions."""

from __future__ import annotations

import pytest

from kube_job_runner.domain.decide.decision import DecisionBuilder
from kube_job_runner.domain.states import NEXT, IllegalStep, State
from tests.support.domain import RULES, T0, make_job


def builder_of(state: State) -> DecisionBuilder:
    return DecisionBuilder(job=make_job(state), attempts={}, now=T0, rules=RULES)


@pytest.mark.parametrize("old", State)
@pytest.mark.parametrize("new", State)
def test_a_step_is_taken_only_when_it_is_legal(old: State, new: State) -> None:
    builder = builder_of(old)
    if new in NEXT[old]:
        builder.move(new, attempt=1, reason="Because")
        assert builder.build().job.state is new
        return
    with pytest.raises(IllegalStep):
        builder.move(new, attempt=1, reason="Because")
    assert builder.build().transitions == ()
    assert builder.build().job.state is old


def test_each_step_of_a_decision_begins_where_the_one_before_it_ended() -> None:
    builder = builder_of(State.QUEUED)
    for state in (State.STARTING, State.RUNNING, State.STOPPING):
        builder.move(state, attempt=1, reason="Because")
    decision = builder.build()
    steps = [(step.version, step.from_state, step.to_state) for step in decision.transitions]
    assert steps == [
        (8, State.QUEUED, State.STARTING),
        (9, State.STARTING, State.RUNNING),
        (10, State.RUNNING, State.STOPPING),
    ]
    assert decision.job.version == 10
