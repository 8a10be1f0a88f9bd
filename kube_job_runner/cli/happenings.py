"""What happened to a job as rows in order of time: the changes of its state, and the phases of its attempts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from kube_job_runner.cli.terminal import durations, tables, text

if TYPE_CHECKING:
    from kube_job_runner.client import Phase, Timeline, Transition

COLUMNS = (
    tables.Column("TIME (UTC)"),
    tables.Column("ATTEMPT", right=True),
    tables.Column("STATE"),
    tables.Column("PHASE"),
    tables.Column("TOOK", right=True),
    tables.Column("WHY"),
)
_WIDTHS = (19, 7, 11, 9, 8, 0)


class Event(NamedTuple):
    """One row: when, what tells it from the others, its cells (safe for a terminal), and its object."""

    at: datetime
    key: tuple[str, ...]
    cells: list[str]
    raw: dict[str, Any]


def ordered(transitions: Sequence[Transition], timeline: Timeline) -> list[Event]:
    """Return all that happened, in order of time; of what came at one time, the change of the state comes first."""
    events = [_of_transition(transition) for transition in transitions]
    events += [_of_phase(phase, timeline.now) for phase in timeline.phases]
    return sorted(events, key=lambda event: event.at)


def line(cells: Sequence[str]) -> str:
    """Return a row as one line, in widths that stay the same while more come."""
    return "  ".join(
        cell.rjust(width) if column.right else cell.ljust(width)
        for cell, width, column in zip(cells, _WIDTHS, COLUMNS, strict=True)
    ).rstrip()


def _of_transition(transition: Transition) -> Event:
    why = ": ".join(part for part in (transition.reason, transition.explanation) if part)
    attempt = str(transition.attempt) if transition.attempt else ""
    cells = [_clock(transition.at), attempt, tables.state_words(transition.to_state), "", "", text.line(why)]
    key = ("transition", str(transition.version), transition.to_state)
    return Event(transition.at, key, cells, {"at": transition.raw.get("at"), "kind": "transition", **transition.raw})


def _of_phase(phase: Phase, now: datetime) -> Event:
    lasts = phase.ended_at is None
    took = durations.show(((phase.ended_at or now) - phase.started_at).total_seconds()) + ("..." if lasts else "")
    # Of a phase that is over, the change of state that ended it says why; of one that lasts, only this does.
    why = _lasting(phase) if lasts else ""
    cells = [_clock(phase.started_at), str(phase.attempt), "", text.line(phase.name), took, text.line(why)]
    key = ("phase", str(phase.attempt), phase.name, (phase.reason or "") if lasts else "ended")
    return Event(phase.started_at, key, cells, {"at": phase.raw.get("started_at"), "kind": "phase", **phase.raw})


def _lasting(phase: Phase) -> str:
    until = f"until {_clock(phase.deadline)}" if phase.deadline is not None else ""
    return "; ".join(part for part in (phase.reason or "", until) if part)


def _clock(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
