"""Shows the phases of a job on stderr: one live line on a terminal, one plain line per change elsewhere."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from kube_job_runner.cli.invocation import Invocation, color_allowed, interactive
from kube_job_runner.cli.terminal import text
from kube_job_runner.domain import durations

if TYPE_CHECKING:
    from kube_job_runner.cli.terminal.live import PhaseLine
    from kube_job_runner.client import Job


class Progress:
    """Shows the progress of a job. This one shows nothing."""

    def show(self, job: Job) -> None:
        """Show the job's current state."""

    def pause(self) -> None:
        """Stop drawing, because the log starts now."""

    def finish(self) -> None:
        """Stop drawing, because nothing more is shown."""


class Lines(Progress):
    """One plain line per change, for files and the logs of other systems. The lines may be mixed with a log."""

    def __init__(self, invocation: Invocation) -> None:
        self._invocation = invocation
        self._phase = ""
        self._since = time.monotonic()

    def show(self, job: Job) -> None:
        phase = phase_of(job)
        if phase == self._phase:
            return
        now = time.monotonic()
        before = f" after {durations.show(now - self._since)} {self._phase}" if self._phase else ""
        self._phase, self._since = phase, now
        self._invocation.note(f"kjr: job {text.line(job.id)} {text.line(phase)}{before}")


class LiveLine(Progress):
    """One line that is redrawn until the log starts. Then it stays as it is."""

    def __init__(self, *, colored: bool) -> None:
        self._colored = colored
        self._line: PhaseLine | None = None
        self._last = ""

    def show(self, job: Job) -> None:
        if job.terminal or job.state == self._last == "running":
            return
        if self._line is None:
            from kube_job_runner.cli.terminal import live

            self._line = live.PhaseLine(colored=self._colored, monotonic=time.monotonic)
        self._last = job.state
        waits = job.state == "queued" and job.attempt
        due_at = job.due_at.timestamp() if waits and job.due_at is not None else None
        note = "" if waits else text.line(job.explanation or "")  # why the last attempt failed has a line of its own
        self._line.enter(text.line(phase_of(job)), note, due_at=due_at)
        if job.state == "running":
            self.pause()

    def pause(self) -> None:
        if self._line is not None:
            self._line.close(ended=self._last != "running")
            self._line = None

    def finish(self) -> None:
        self.pause()


class Tally:
    """How far a wait for jobs is, on a line of stderr that is redrawn: on a terminal only. A context manager."""

    def __init__(self, invocation: Invocation, count: int) -> None:
        self._count = count
        self._draws = interactive() and not invocation.quiet
        self._colored = color_allowed(invocation.color)
        self._line: PhaseLine | None = None

    def __enter__(self) -> Tally:
        return self

    def __exit__(self, *exception: object) -> None:
        self.pause()

    def show(self, ended: Sequence[Job], waited_for: Job) -> None:
        """Show how many have ended and why some failed, and the state of the job that is waited for."""
        if not self._draws or waited_for.terminal:
            return
        if self._line is None:
            from kube_job_runner.cli.terminal import live

            self._line = live.PhaseLine(colored=self._colored, monotonic=time.monotonic)
        waits = text.line(phase_of(waited_for))
        if self._count > 1:
            waits = f"{tally(ended, self._count)}; {text.line(waited_for.name)} {waits}"
        self._line.enter(waits, text.line(waited_for.explanation or ""))

    def pause(self) -> None:
        """Remove the line, because another one is written."""
        if self._line is not None:
            self._line.discard()
            self._line = None


def tally(ended: Sequence[Job], count: int) -> str:
    """Return how many of `count` jobs have ended, and what the others than succeeded ended with.

    For example `137/200, 3 not succeeded: 2 OutOfMemory, 1 exit 7`.
    """
    why = Counter(
        f"exit {job.exit_code}" if job.reason == "ApplicationExit" else text.line(job.reason or job.state)
        for job in ended
        if job.terminal and not job.succeeded
    )
    words = ", ".join(f"{number} {name}" for name, number in why.most_common(4))
    return f"{len(ended)}/{count}" + (f", {why.total()} not succeeded: {words}" if why else "")


def phase_of(job: Job) -> str:
    """Return the state, and from the second attempt on its number."""
    number = job.attempt + 1 if job.state == "queued" and job.attempt else job.attempt
    return f"{job.state} (attempt {number})" if number > 1 and not job.terminal else job.state


def choose(invocation: Invocation) -> Progress:
    """Return the progress display that fits stderr."""
    if invocation.quiet:
        return Progress()
    if interactive():
        return LiveLine(colored=color_allowed(invocation.color))
    return Lines(invocation)
