"""`kjr run` from submit to exit code: phases, log, and what Ctrl-C means.

On a terminal Ctrl-C detaches and a second one within the window cancels; without one (a pipeline) SIGINT and SIGTERM
cancel, so that a stopped pipeline leaves nothing running. `--on-interrupt` decides it whatever the terminal.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kube_job_runner.cli import exitcodes, job_reference
from kube_job_runner.cli.attach import follower, log_writer, progress
from kube_job_runner.cli.invocation import Invocation, interactive
from kube_job_runner.cli.terminal import durations, output, text
from kube_job_runner.client import errors

if TYPE_CHECKING:
    from kube_job_runner.client import Client, Job

DETACH_WINDOW_SECONDS = 0.8
SUBMIT_GRACE_SECONDS = 10.0
_BANNERS = {None: "Ctrl-C detaches, twice cancels", "detach": "Ctrl-C detaches", "cancel": "Ctrl-C cancels"}


@dataclass
class AttachedRun:
    """One job, attended by the person or the system that submitted it."""

    invocation: Invocation
    client: Client
    idempotency_key: str
    on_interrupt: str | None = None
    job: Job | None = None
    _log: str = "none"
    _shown: progress.Progress = field(default_factory=progress.Silent)

    def run(self, submit: Callable[[], Job]) -> int:
        """Submit the job, follow it to its end, and return the exit code."""
        self._shown = progress.choose(self.invocation)
        self._writer = log_writer.LogWriter(to_stderr=self.invocation.output != "log")
        self._follower = follower.Follower(self.client)
        with self._follower.signals():
            self._follower.submit(submit)
            try:
                return self._follow()
            finally:
                self._shown.finish(self.job)
                self.invocation.ending = True

    def _follow(self) -> int:
        drain: follower.Deadline | None = None
        while True:
            event = self._follower.next(None if drain is None else drain.left_seconds)
            if isinstance(event, follower.Signalled):
                return self._interrupted(event.number)
            if isinstance(event, follower.Failed):
                return self._lost(event.error)
            if isinstance(event, follower.Submitted):
                self._submitted(event.job)
            elif isinstance(event, follower.Changed):
                self._changed(event.job)
            elif isinstance(event, follower.Logged):
                self._shown.pause()
                self._writer.write(event.chunk)
            elif isinstance(event, follower.LogEnded):
                self._log_ended(event.error)
            if self.job is not None and self.job.terminal:
                if event is None or self._log != "open":
                    return self._finish(self.job, log_cut=event is None)
                drain = follower.Deadline(follower.LOG_DRAIN_SECONDS)

    def _submitted(self, job: Job) -> None:
        job_reference.remember(self.client, job.id)
        report_warnings(self.invocation, job)
        if interactive():
            self.invocation.note(f"kjr: job {text.line(job.id)} ({_BANNERS[self.on_interrupt]})")
        self._changed(job)
        self._follower.watch(job.id)

    def _changed(self, job: Job) -> None:
        self.job = job
        self._shown.show(job)
        if self._log == "none" and (job.state == "running" or (job.terminal and job.attempt)):
            self._log = "open"
            self._follower.logs(job.id)

    def _log_ended(self, error: Exception | None) -> None:
        self._log = "ended"
        if error is not None and self.job is not None and self.job.started_at is not None:
            self.invocation.note(f"kjr: the log cannot be read: {text.line(error)}")

    def _finish(self, job: Job, *, log_cut: bool) -> int:
        self._writer.end_line()
        self._shown.finish(job)
        if log_cut:
            self.invocation.note(f"kjr: the log has not ended yet; see the rest with: kjr logs {text.line(job.id)}")
        self._write_object(job)
        report_end(self.invocation, job)
        return exitcodes.of_job(job)

    def _write_object(self, job: Job | None) -> None:
        if job is not None and self.invocation.output != "log":
            output.write_jobs([job], self.invocation, single=True)

    def _lost(self, error: Exception) -> int:
        self._shown.finish(self.job)
        if self.job is not None:
            self._write_object(self.job)
            self.invocation.say(
                f"kjr: lost sight of job {text.line(self.job.id)}; it may go on: kjr wait {self.job.id}"
            )
        elif isinstance(error, errors.ConnectionFailed):
            self.invocation.say(
                "kjr: it is not known whether the job was stored; to find out, run the same again with "
                f"--idempotency-key {self.idempotency_key}"
            )
        raise error

    # --- interrupts ---

    def _interrupted(self, number: int) -> int:
        self._shown.finish(self.job)
        self._writer.end_line()
        mode = self.on_interrupt or ("detach" if interactive() else "cancel")
        if mode == "detach" and self._asked_twice(number):
            mode = "cancel"
        if self.job is None:
            self._await_submit(DETACH_WINDOW_SECONDS if mode == "detach" else SUBMIT_GRACE_SECONDS)
        if self.job is None:
            self.invocation.say(
                "kjr: interrupted before the submit was answered; to find out whether the job was stored, run the same "
                f"again with --idempotency-key {self.idempotency_key}"
            )
        elif mode == "cancel":
            self._cancel(self.job, number)
        else:
            print_detached(self.invocation, self.job)
        self._write_object(self.job)
        return 128 + number

    def _asked_twice(self, number: int) -> bool:
        if number != signal.SIGINT or self.on_interrupt is not None:
            return False
        self.invocation.note("kjr: detaching; Ctrl-C again cancels the job")
        deadline = follower.Deadline(DETACH_WINDOW_SECONDS)
        while deadline.left_seconds:
            event = self._follower.next(deadline.left_seconds)
            if isinstance(event, follower.Signalled):
                return True
            self._note_job(event)
        return False

    def _await_submit(self, seconds: float) -> None:
        deadline = follower.Deadline(seconds)
        while self.job is None and deadline.left_seconds:
            event = self._follower.next(deadline.left_seconds)
            if isinstance(event, follower.Failed):
                raise event.error
            self._note_job(event)

    def _note_job(self, event: follower.Event | None) -> None:
        if isinstance(event, follower.Submitted):
            job_reference.remember(self.client, event.job.id)
        if isinstance(event, follower.Submitted | follower.Changed):
            self.job = event.job

    def _cancel(self, job: Job, number: int) -> None:
        name = signal.Signals(number).name
        try:
            self.job = self.client.cancel(job.id, f"kjr run was interrupted ({name})")
        except errors.Conflict:
            self.invocation.say(f"kjr: job {text.line(job.id)} has ended already")
        except errors.ClientError as error:
            self.invocation.say(f"kjr: the job could not be cancelled: {error}\nTry again with: kjr cancel {job.id}")
        else:
            self.invocation.say(f"kjr: job {text.line(job.id)}: cancel requested ({name})")


def report_warnings(invocation: Invocation, job: Job) -> None:
    """Say what the server thinks of the spec: unknown fields, above all."""
    for warning in job.warnings or ():
        parts = [warning.get("pointer"), warning.get("detail")] if isinstance(warning, dict) else [warning]
        invocation.say("kjr: warning: " + " ".join(text.line(part) for part in parts if part))


def print_detached(invocation: Invocation, job: Job) -> None:
    """Print the three commands that go on from here."""
    identity = text.line(job.id)
    invocation.note(
        f"kjr: the job goes on; to come back to it:\n  kjr logs -f {identity}\n  kjr wait {identity}\n  kjr cancel {identity}"
    )


def report_end(invocation: Invocation, job: Job) -> None:
    """Say how a job ended: the last line on stderr, always there when it did not succeed."""
    if job.succeeded:
        took = output.run_time(job)
        invocation.note(f"kjr: job {text.line(job.id)} succeeded" + (f" in {took}" if took else ""))
        return
    parts = [f"kjr: job {text.line(job.id)} {text.line(job.state)}", job.reason, job.explanation]
    docs = f" (docs: kjr explain {text.line(job.reason)})" if job.state == "failed" and job.reason else ""
    invocation.say(": ".join(text.line(part) for part in parts if part) + docs)


def report_still_running(invocation: Invocation, job: Job, seconds: float) -> None:
    """Say that the time to wait is over."""
    invocation.say(f"kjr: job {text.line(job.id)} is still {text.line(job.state)} after {durations.show(seconds)}")
