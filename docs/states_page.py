"""Write docs/reference/states.md from the state machine of the code: `python docs/states_page.py`. A test keeps it fresh."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from kube_job_runner.domain.states import AFTER_COMMIT, NEXT, STEPS, TERMINAL, State

PAGE = Path(__file__).resolve().parent / "reference" / "states.md"

_HEAD = """<!-- Written by docs/states_page.py from kube_job_runner/domain/states.py. -->
# States

A job is in one of seven states. The web server stores a job as `queued`; only the messages-processor changes a state after that.
A terminal state never changes.
"""
_MEANINGS = {
    State.QUEUED: "waits for its time, for room in the limits, or for its next attempt",
    State.STARTING: "its cluster job exists, and its main container has not started yet",
    State.RUNNING: "its main container has started",
    State.STOPPING: "its end is decided, and something of it may still run in the cluster",
    State.SUCCEEDED: "its program ended with success",
    State.FAILED: "it ended without success; the reason code says why",
    State.CANCELLED: "it was cancelled by a request, and nothing of it is left running",
}
_ORIGINS = """
Where a trigger comes from: `user` is a request to the API, `limits` is free room in the limits, `cluster` is something seen in
the cluster, `clock` is a deadline. A failed attempt leads to another one as [the retry policy](retries.md) says.
"""
_LOCKS = """
## Two locks

Any other step is a bug ([ADR 23](../adr/0023-the-state-machine-is-asked.md)). The program raises an error, which is logged,
retried and dead-lettered, and no row changes. PostgreSQL refuses the step too: a trigger on `transitions` checks each step, and a
trigger on `jobs` checks the states of a job before and after a commit. One commit takes several steps when
the record is behind the cluster:

| before the commit | after the commit |
|---|---|
"""


def page() -> str:
    """Return the page."""
    return "\n".join([_HEAD, *_states(), "", "## Steps", "", *_diagram(), "", *_steps(), _ORIGINS]) + _locks()


def _states() -> Iterator[str]:
    yield "| state | the job |"
    yield "|---|---|"
    for state in State:
        yield f"| `{state}`{' (terminal)' if state in TERMINAL else ''} | {_MEANINGS[state]} |"


def _diagram() -> Iterator[str]:
    yield "```mermaid"
    yield "stateDiagram-v2"
    for old, new in dict.fromkeys((step.from_state, step.to_state) for step in STEPS):
        origins = [step.origin for step in STEPS if (step.from_state, step.to_state) == (old, new)]
        yield f"    {old or '[*]'} --> {new}: {', '.join(dict.fromkeys(origins))}"
    for state in State:
        if state in TERMINAL:
            yield f"    {state} --> [*]"
    yield "```"


def _steps() -> Iterator[str]:
    yield "| from | to | trigger | who |"
    yield "|---|---|---|---|"
    for step in STEPS:
        yield f"| {_code(step.from_state)} | {_code(step.to_state)} | {step.trigger} | {step.origin} |"


def _locks() -> str:
    rows = [
        f"| `{state}` | {', '.join(map(_code, _ordered(AFTER_COMMIT[state])))} |\n" for state in State if NEXT[state]
    ]
    return _LOCKS + "".join(rows)


def _ordered(found: frozenset[State]) -> list[State]:
    return [state for state in State if state in found]


def _code(state: State | None) -> str:
    return f"`{state}`" if state else ""


def main() -> int:
    """Write the page."""
    PAGE.write_text(page())
    return 0


if __name__ == "__main__":
    sys.exit(main())
