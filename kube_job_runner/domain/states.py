"""The state machine of a job: its states, and every legal step with what triggers it. No other module decides either.

Two locks hold the program to this table: `DecisionBuilder.move` raises on any other step, and two triggers in PostgreSQL
refuse it (ADR 23). `docs/reference/states.md` is written from the table.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Literal

import msgspec


class State(StrEnum):
    """Where a job is in its life."""

    QUEUED = "queued"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


TERMINAL = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED})

Origin = Literal["user", "limits", "cluster", "clock"]
"""Where a trigger comes from: a request, free room in the limits, something seen in the cluster, or a deadline."""


class IllegalStep(RuntimeError):
    """A decision took a step that the table does not hold: a bug."""


class Step(msgspec.Struct, frozen=True):
    """One legal change of state, and one trigger of it. `from_state` is None for the submit."""

    from_state: State | None
    to_state: State
    trigger: str
    origin: Origin


_QUEUED, _STARTING, _RUNNING, _STOPPING = State.QUEUED, State.STARTING, State.RUNNING, State.STOPPING
_SUCCEEDED, _FAILED, _CANCELLED = State.SUCCEEDED, State.FAILED, State.CANCELLED

_COMPLETED = "The cluster job completed"
_NO_FURTHER = "The cluster job failed, and no further attempt is allowed"
_RETRY = "The cluster job failed, and another attempt is allowed"
_RETRY_CANCELLED = "The cluster job failed, and a cancel was requested before the next attempt"
_CANCEL = "A cancel was requested"
_DELETED = "Somebody else deleted the cluster job, and a pod of it may still run"

STEPS = (
    Step(None, _QUEUED, "The job was submitted", "user"),
    Step(_QUEUED, _STARTING, "The job was admitted, and its cluster job exists", "limits"),
    Step(_QUEUED, _FAILED, "The cluster refused the cluster job permanently", "cluster"),
    Step(_QUEUED, _FAILED, "The queue timeout passed", "clock"),
    Step(_QUEUED, _CANCELLED, "A cancel was requested, and the cluster holds no cluster job", "user"),
    Step(_STARTING, _RUNNING, "The main container started", "cluster"),
    Step(_STARTING, _STOPPING, _CANCEL, "user"),
    Step(_STARTING, _STOPPING, "The pod cannot start, and another attempt is allowed", "cluster"),
    Step(_STARTING, _STOPPING, _DELETED, "cluster"),
    Step(_STARTING, _STOPPING, "The start timeout passed, and another attempt is allowed", "clock"),
    Step(_STARTING, _QUEUED, _RETRY, "cluster"),
    Step(_STARTING, _SUCCEEDED, f"{_COMPLETED} before its start was seen", "cluster"),
    Step(_STARTING, _FAILED, _NO_FURTHER, "cluster"),
    Step(_STARTING, _FAILED, "The pod cannot start, and no further attempt is allowed", "cluster"),
    Step(_STARTING, _FAILED, "The start timeout passed, and no further attempt is allowed", "clock"),
    Step(_STARTING, _CANCELLED, _RETRY_CANCELLED, "cluster"),
    Step(_RUNNING, _STOPPING, _CANCEL, "user"),
    Step(_RUNNING, _STOPPING, _DELETED, "cluster"),
    Step(_RUNNING, _STOPPING, "The run timeout passed", "clock"),
    Step(_RUNNING, _QUEUED, _RETRY, "cluster"),
    Step(_RUNNING, _SUCCEEDED, _COMPLETED, "cluster"),
    Step(_RUNNING, _FAILED, _NO_FURTHER, "cluster"),
    Step(_RUNNING, _CANCELLED, _RETRY_CANCELLED, "cluster"),
    Step(_STOPPING, _QUEUED, "Nothing of the attempt is left, and another attempt is allowed", "cluster"),
    Step(_STOPPING, _QUEUED, _RETRY, "cluster"),
    Step(_STOPPING, _SUCCEEDED, f"{_COMPLETED} before the stop reached it", "cluster"),
    Step(_STOPPING, _FAILED, "Nothing of a failed attempt is left, and no further attempt is allowed", "cluster"),
    Step(_STOPPING, _FAILED, _NO_FURTHER, "cluster"),
    Step(_STOPPING, _CANCELLED, "Nothing of the cancelled job is left", "cluster"),
    Step(_STOPPING, _CANCELLED, _RETRY_CANCELLED, "cluster"),
)

NEXT: Mapping[State, frozenset[State]] = {
    state: frozenset(step.to_state for step in STEPS if step.from_state is state) for state in State
}
"""The states that may follow each state in one step: one row of the history."""


def _states_after_commit() -> Mapping[State, frozenset[State]]:
    """Return what one commit may make of a state: it takes several steps, and it leaves no state `queued` that it entered."""
    reached: dict[State, frozenset[State]] = {}
    for start in State:
        found: set[State] = set()
        open_ends = set(NEXT[start])
        while open_ends:
            state = open_ends.pop()
            found.add(state)
            open_ends |= (NEXT[state] if state is not State.QUEUED else frozenset()) - found
        reached[start] = frozenset(found - {start})
    return reached


AFTER_COMMIT: Mapping[State, frozenset[State]] = _states_after_commit()
"""The other states that one commit may leave a job in, by the state before it.

A commit takes several steps when the cluster is ahead of the record: a job that was queued is found running. It never
leaves a state `queued` that it entered itself, because another attempt needs its own admission.
"""


def check_step(from_state: State, to_state: State) -> None:
    """Check one step.

    Raises:
        IllegalStep: the table does not hold it.
    """
    if to_state not in NEXT[from_state]:
        raise IllegalStep(f"a job that is {from_state} cannot become {to_state}")
