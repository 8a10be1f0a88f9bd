"""`kjr events`: shows what happened to a job in order of time: its state changes and the phases of its attempts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from kube_job_runner.cli import invocation, job_reference, options
from kube_job_runner.cli.attach import interrupts
from kube_job_runner.cli.terminal import layout, output, tables, text
from kube_job_runner.domain import durations

if TYPE_CHECKING:
    from kube_job_runner.client import Client, Job, Phase, Timeline, Transition

_COLUMNS = tables.columns("TIME (UTC)", ">ATTEMPT", "STATE", "PHASE", ">TOOK", "~WHY")
_WIDTHS = (19, 7, 11, 9, 8, 0)
"""Widths of followed events. They are fixed, because later rows are not known yet."""


class _Event(NamedTuple):
    """A row: its time, a key that is unique per job, cells that are safe for a terminal, and the JSON object."""

    at: datetime
    key: tuple[str, ...]
    cells: list[str]
    raw: dict[str, Any]


@click.command("events")
@click.argument("reference", metavar="ID")
@click.option("-f", "--follow", is_flag=True, help="Continue until the job has ended.")
@options.output("table", "json", "jsonl", "yaml")
@options.connection
def command(reference: str, *, follow: bool) -> None:
    """Show what happened to a job: its state changes, and the phases of its attempts with their durations."""
    current = invocation.current()
    if follow and current.output in ("json", "yaml"):
        raise click.UsageError(f"-f cannot be used with -o {current.output}; -o jsonl writes one event per line")
    with current.client() as client:
        job = job_reference.resolve(client, reference)
        show = _follow if follow else _show
        show(client, current, job)


def _show(client: Client, current: invocation.Invocation, job: Job) -> None:
    transitions = client.transitions(job.id)
    if not transitions:  # every job has at least the one of its submit
        click.echo("kjr: retention removed the state changes of this job; its phases are kept", err=True)
    events = _ordered(transitions, client.timeline(job.id))
    if current.output == "table":
        output.write_table(_COLUMNS, [event.cells for event in events], current)
    else:
        output.write_objects([event.raw for event in events], current.output)


def _follow(client: Client, current: invocation.Invocation, job: Job) -> None:
    if current.output == "table":
        click.echo(layout.aligned([column.title for column in _COLUMNS], _WIDTHS, _COLUMNS))
    with interrupts.handled(current, client, lambda: [job.id], submitted_here=False):
        _write_changes(client, current, job)


def _write_changes(client: Client, current: invocation.Invocation, job: Job) -> None:
    seen: set[tuple[str, ...]] = set()
    for changed in client.changes(job.id):
        for event in _ordered(client.transitions(changed.id), client.timeline(changed.id)):
            if event.key in seen:
                continue
            seen.add(event.key)
            if current.output == "table":
                click.echo(layout.aligned(event.cells, _WIDTHS, _COLUMNS))
            else:
                output.write_json(event.raw, indent=0)


def _ordered(transitions: Sequence[Transition], timeline: Timeline) -> list[_Event]:
    """Return all events in order of time. At the same time, state changes come before phases."""
    events = [_of_transition(transition) for transition in transitions]
    events += [_of_phase(phase, timeline.now) for phase in timeline.phases]
    return sorted(events, key=lambda event: event.at)


def _of_transition(transition: Transition) -> _Event:
    why = ": ".join(part for part in (transition.reason, transition.explanation) if part)
    attempt = str(transition.attempt) if transition.attempt else ""
    cells = [_clock(transition.at), attempt, tables.state_words(transition.to_state), "", "", text.line(why)]
    key = ("transition", str(transition.version), transition.to_state)
    return _Event(transition.at, key, cells, {"at": transition.raw.get("at"), "kind": "transition", **transition.raw})


def _of_phase(phase: Phase, now: datetime) -> _Event:
    current = phase.ended_at is None
    took = durations.show(((phase.ended_at or now) - phase.started_at).total_seconds()) + ("..." if current else "")
    # A finished phase needs no reason: the state change that ended it has one.
    why = _reason(phase) if current else ""
    cells = [_clock(phase.started_at), str(phase.attempt), "", text.line(phase.name), took, text.line(why)]
    key = ("phase", str(phase.attempt), phase.name, (phase.reason or "") if current else "ended")
    return _Event(phase.started_at, key, cells, {"at": phase.raw.get("started_at"), "kind": "phase", **phase.raw})


def _reason(phase: Phase) -> str:
    until = f"until {_clock(phase.deadline)}" if phase.deadline is not None else ""
    return "; ".join(part for part in (phase.reason or "", until) if part)


def _clock(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
