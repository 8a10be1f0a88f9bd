"""A job in full, as lines for a person: what it is, where its time went, what ended it, and what to do next."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from kube_job_runner.cli import durations, output, text

if TYPE_CHECKING:
    from kube_job_runner.client import Attempt, Job, Transition


class Line(NamedTuple):
    """One line and how it is set off."""

    content: str
    color: str | None = None
    bold: bool = False


def describe(
    job: Job, transitions: Sequence[Transition], attempts: Sequence[Attempt], *, now: datetime | None = None
) -> Iterator[Line]:
    """Yield the description of a job."""
    now = now or datetime.now(UTC)
    yield Line(
        f"job {text.line(job.id)}  {output.state_words(job.state)}", color=output.state_color(job.state), bold=True
    )
    yield from _facts(job, now)
    if transitions:
        yield Line("")
        yield Line("phases", bold=True)
        yield from _phases(transitions, now)
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
        ("cancel asked by", " ".join(str(cancel.get(key) or "") for key in ("by", "reason")).strip()),
    ]
    for name, value in pairs:
        if value != "":
            yield Line(f"  {name:<15} {text.line(value)}")


def _moment(moment: datetime | None, now: datetime) -> str:
    if moment is None:
        return ""
    clock = f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"
    seconds = (now - moment).total_seconds()
    return f"{clock} ({durations.show(seconds)} ago)" if seconds >= 0 else f"{clock} (in {durations.show(-seconds)})"


def _phases(transitions: Sequence[Transition], now: datetime) -> Iterator[Line]:
    ends = [transition.at for transition in transitions[1:]]
    for at, transition in enumerate(transitions):
        last = at == len(transitions) - 1
        ended = transition.to_state in ("succeeded", "failed", "cancelled")
        took = "" if last and ended else durations.show(((now if last else ends[at]) - transition.at).total_seconds())
        attempt = f"attempt {transition.attempt}" if transition.attempt else ""
        clock = f"{transition.at.astimezone(UTC):%H:%M:%S}"
        why = transition.reason or ""
        content = f"  {clock}  {output.state_words(transition.to_state):<12} {took:>8}  {attempt:<10}  {text.line(why)}"
        yield Line(content.rstrip(), color=output.state_color(transition.to_state))


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


def next_step(job: Job) -> str:
    """Return the command that most likely comes next, or nothing."""
    identity = text.line(job.id)
    if not job.terminal:
        return f"kjr logs -f {identity}" if job.state == "running" else f"kjr wait {identity}"
    if job.state == "failed" and job.started_at is not None:
        return f"kjr logs --tail 50 {identity}"
    if job.state == "failed":
        return f"kjr get --spec {identity}"
    return f"kjr logs {identity}" if job.attempt else ""
