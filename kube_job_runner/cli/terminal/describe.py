"""Describes a job in full: facts, phases with their durations, attempts, and the next command."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from kube_job_runner.cli.terminal import output, tables, text
from kube_job_runner.cli.terminal.output import Line
from kube_job_runner.domain import durations

if TYPE_CHECKING:
    from kube_job_runner.client import Attempt, Job, Phase, Timeline


def describe(job: Job, timeline: Timeline, attempts: Sequence[Attempt]) -> Iterator[Line]:
    """Yield the description of a job. The current time is that of its timeline."""
    now = timeline.now
    yield Line(
        f"job {text.line(job.id)}  {tables.state_words(job.state)}", color=tables.state_color(job.state), bold=True
    )
    yield from _facts(job, now)
    if timeline.phases:
        yield Line("")
        yield Line("phases", bold=True)
        yield from _phases(timeline, attempts)
    if attempts:
        yield Line("")
        yield Line("attempts", bold=True)
        yield from _attempts(attempts)
    step = next_step(job)
    if step:
        yield Line("")
        yield Line(f"next: {step}")


def _facts(job: Job, now: datetime) -> Iterator[Line]:
    labels = ", ".join(f"{key}={value}" for key, value in job.labels.items())
    cancel = job.cancel or {}
    pairs = [
        ("name", job.name),
        ("queue", job.queue),
        ("namespace", job.namespace),
        ("priority", job.priority or ""),
        ("labels", labels),
        ("submitted", _moment(job.created_at, now)),
        ("due", _moment(job.due_at, now) if job.state == "queued" and job.attempt else ""),
        ("duration", output.run_time(job, now=now)),
        ("exit code", "" if job.exit_code is None else job.exit_code),
        ("reason", job.reason or ""),
        ("explanation", job.explanation or ""),
        ("rerun of", job.rerun_of or ""),
        ("cancel asked by", ": ".join(str(cancel[key]) for key in ("by", "reason") if cancel.get(key))),
        ("what happens", cancel.get("outlook") or ""),
    ]
    for name, value in pairs:
        if value != "":
            yield Line(f"  {name:<15} {text.line(value)}", hang=18)


def _moment(moment: datetime | None, now: datetime) -> str:
    if moment is None:
        return ""
    clock = f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"
    seconds = (now - moment).total_seconds()
    return f"{clock} ({durations.show(seconds)} ago)" if seconds >= 0 else f"{clock} (in {durations.show(-seconds)})"


def _phases(timeline: Timeline, attempts: Sequence[Attempt]) -> Iterator[Line]:
    """Yield a line for each attempt, `✓ queued 2s  ✓ scheduled 1s  ⠋ pulling 14s ...`, and the reason of a running phase."""
    failed = {attempt.number for attempt in attempts if (attempt.verdict or {}).get("outcome") == "failed"}
    by_attempt: dict[int, list[Phase]] = {}
    for phase in timeline.phases:
        by_attempt.setdefault(phase.attempt, []).append(phase)
    for number, phases in by_attempt.items():
        shown = [
            phase_words(phase, now=timeline.now, failed=number in failed and phase is phases[-1]) for phase in phases
        ]
        label = f"attempt {number}  " if len(by_attempt) > 1 or number > 1 else ""
        yield Line(f"  {label}{'  '.join(shown)}")
    last = timeline.phases[-1]
    if last.ended_at is None and last.reason:
        yield Line(f"    {text.line(last.reason)}")
    if last.ended_at is None and last.deadline is not None:
        yield Line(f"    until {_moment(last.deadline, timeline.now)} at the latest")


def phase_words(phase: Phase, *, now: datetime, failed: bool = False) -> str:
    """Return a phase with an icon and its duration so far."""
    took = durations.show(((phase.ended_at or now) - phase.started_at).total_seconds())
    icon = tables.icon("⠋" if phase.ended_at is None else "✗" if failed else "✓")
    words = f"{icon} {text.line(phase.name)} {took}".strip()
    return words if phase.ended_at is not None else f"{words} ..."


def _attempts(attempts: Sequence[Attempt]) -> Iterator[Line]:
    for attempt in attempts:
        end = attempt.finished_at
        ran = (end - attempt.started_at).total_seconds() if end and attempt.started_at else None
        parts = [
            f"{attempt.number}",
            attempt.cluster_name or "",
            f"on {attempt.node}" if attempt.node else "",
            "" if ran is None else f"ran {durations.show(ran)}",
            "" if attempt.exit_code is None else f"exit {attempt.exit_code}",
            attempt.reason or "",
        ]
        yield Line("  " + "  ".join(text.line(part) for part in parts if part))


ATTEMPT_COLUMNS = tables.columns(
    "JOB", ">ATTEMPT", "REASON", "CAUSE", ">EXIT", "CHARGED TO", ">RAN", "NODE", "~WHAT FOLLOWED"
)


def attempt_rows(job: Job, attempts: Sequence[dict[str, Any]]) -> list[list[str]]:
    """Return the cells of a table of the attempts of an explanation. They are safe for a terminal."""
    rows = []
    for attempt in attempts:
        verdict = attempt.get("verdict") or {}
        known = [verdict.get(name) for name in ("reason", "cause", "exit_code", "charged_to")]
        ran = span(attempt.get("started_at"), attempt.get("finished_at"))
        job_id = output.short_ids([job.id])[job.id]
        number, node, followed = attempt.get("number"), attempt.get("node"), verdict.get("followed")
        rows.append(tables.cells(job_id, number, *known, ran, node, followed))
    return rows


def span(start: str | None, end: str | None) -> str:
    """Return the duration between two times (RFC 3339), or nothing if one is missing."""
    if not start or not end:
        return ""
    return durations.show((datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds())


def next_step(job: Job) -> str:
    """Return the command that the user needs next most likely, or nothing."""
    identity = text.line(job.id)
    if not job.terminal:
        return f"kjr logs -f {identity}" if job.state == "running" else f"kjr wait {identity}"
    if job.state == "failed":
        return f"kjr explain {identity}"
    return f"kjr logs {identity}" if job.attempt else ""
