"""The table of legal steps: what it promises by itself, whoever asks it."""

from __future__ import annotations

import pytest

from docs import states_page
from kube_job_runner.domain import states
from kube_job_runner.domain.states import AFTER_COMMIT, NEXT, STEPS, TERMINAL, State

LIVE = set(State) - TERMINAL


def test_terminal_states_lead_nowhere() -> None:
    """I4."""
    assert {state for state in State if not NEXT[state]} == TERMINAL
    assert all(not AFTER_COMMIT[state] for state in TERMINAL)


def test_a_job_begins_queued() -> None:
    assert [step.to_state for step in STEPS if step.from_state is None] == [State.QUEUED]


def test_every_state_is_reached_and_every_live_one_can_end_in_any_way() -> None:
    assert AFTER_COMMIT[State.QUEUED] == set(State) - {State.QUEUED}
    assert all(AFTER_COMMIT[state] >= TERMINAL for state in LIVE)


def test_a_step_is_listed_once_for_each_of_its_triggers() -> None:
    assert len(set(STEPS)) == len(STEPS)


def test_one_commit_goes_back_to_queued_only_and_no_further() -> None:
    back = {(old, new) for old in LIVE for new in AFTER_COMMIT[old] if list(State).index(new) < list(State).index(old)}
    assert back == {(old, State.QUEUED) for old in LIVE - {State.QUEUED}}


@pytest.mark.parametrize("old", State)
def test_any_other_step_is_a_bug(old: State) -> None:
    for new in State:
        if new in NEXT[old]:
            states.check_step(old, new)
        else:
            with pytest.raises(states.IllegalStep, match=f"a job that is {old} cannot become {new}"):
                states.check_step(old, new)


def test_the_reference_page_is_written_from_the_table() -> None:
    """Write it with `python docs/states_page.py`."""
    assert states_page.PAGE.read_text() == states_page.page()
