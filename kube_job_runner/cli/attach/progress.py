"""Shows the phases of a job on stderr: one live line on a terminal, one plain line per change elsewhere."""

from __future__ import annotations

import time
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
