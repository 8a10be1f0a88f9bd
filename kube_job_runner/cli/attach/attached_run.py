"""Runs a job attached to the terminal or pipeline: from submit to exit code, with phases, log and interrupts.

On a terminal, Ctrl-C detaches, and a second Ctrl-C shortly after it cancels the job. Without a terminal (in a pipeline),
SIGINT and SIGTERM cancel the job, so that a stopped pipeline leaves nothing running. `--on-interrupt` overrides this.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from kube_job_runner.cli import exitcodes, job_reference
from kube_job_runner.cli.attach import follower, log_writer, progress, reports
from kube_job_runner.cli.invocation import Invocation, color_allowed, interactive
from kube_job_runner.cli.terminal import output, text
from kube_job_runner.client import errors
from kube_job_runner.domain import durations

if TYPE_CHECKING:
    from kube_job_runner.client import Client, Job

DETACH_WINDOW_SECONDS = 0.8
SUBMIT_GRACE_SECONDS = 10.0
REDRAW_SECONDS = 1.0
_BANNERS = {None: "Ctrl-C detaches, twice cancels", "detach": "Ctrl-C detaches", "cancel": "Ctrl-C cancels"}


@dataclass
class AttachedRun:
    """One job, from its submit to its end."""

    invocation: Invocation
    client: Client
    idempotency_key: str
    on_interrupt: str | None = None
    job: Job | None = None
    _log: str = "none"
    _failed_attempt: int = 0
    """The last attempt whose failure was reported while another one follows."""
    _shown: progress.Progress = field(default_factory=progress.Progress)

    def run(self, submit: Callable[[], Job]) -> int:
        """Submit the job, follow it to its end, and return the exit code."""
        self._shown = progress.choose(self.invocation)
        self._writer = log_writer.LogWriter(
            to_stderr=self.invocation.output != "log", colored=color_allowed(self.invocation.color)
        )
        self._follower = follower.Follower(self.client)
        with self._follower.signals():
            self._follower.submit(submit)
            try:
                return self._follow()
            finally:
                self._shown.finish()
                self.invocation.ending = True

    def _follow(self) -> int:
        drain: follower.Deadline | None = None
        while True:
            event = self._follower.next(REDRAW_SECONDS if drain is None else drain.left_seconds)
            if isinstance(event, follower.Signalled):
                return self._interrupted(event.number)
            if event is None and drain is None and self.job is not None:
                self._shown.show(self.job)  # the log of an attempt that failed took its place
                continue
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
        reports.warnings(self.invocation, job)
        if interactive():
            self.invocation.note(f"kjr: job {text.line(job.id)} ({_BANNERS[self.on_interrupt]})")
        self._changed(job)
        self._follower.watch(job.id)

    def _changed(self, job: Job) -> None:
        self.job = job
        self._report_retry(job)
        self._shown.show(job)
        if self._log == "none" and (job.state == "running" or (job.terminal and job.attempt)):
            self._log = "open"
            self._follower.logs(job.id)

    def _report_retry(self, job: Job) -> None:
        if job.state != "queued" or not job.attempt or job.attempt == self._failed_attempt:
            return
        self._failed_attempt = job.attempt
        self._shown.pause()
        left_seconds = 0.0 if job.due_at is None else (job.due_at - datetime.now(UTC)).total_seconds()
        follows = f"attempt {job.attempt + 1} in {durations.show(left_seconds)}"
        why = ": ".join(text.line(part) for part in (job.reason, job.explanation) if part)
        self.invocation.note(f"kjr: attempt {job.attempt} failed: {why} ({follows})")

    def _log_ended(self, error: Exception | None) -> None:
        self._log = "ended"
        if error is not None and self.job is not None and self.job.started_at is not None:
            self.invocation.note(f"kjr: the log cannot be read: {text.line(error)}")

    def _finish(self, job: Job, *, log_cut: bool) -> int:
        self._writer.end_line()
        self._shown.finish()
        if log_cut:
            self.invocation.note(f"kjr: the log is not complete yet; read the rest with: kjr logs {text.line(job.id)}")
        self._write_object(job)
        reports.end(self.invocation, job)
        return exitcodes.of_job(job)

    def _write_object(self, job: Job | None) -> None:
        if job is not None and self.invocation.output != "log":
            output.write_jobs([job], self.invocation, single=True)

    def _lost(self, error: Exception) -> int:
        self._shown.finish()
        if self.job is not None:
            self._write_object(self.job)
            self.invocation.say(
                f"kjr: connection lost; job {text.line(self.job.id)} may still be running: kjr wait {self.job.id}"
            )
        elif isinstance(error, errors.ConnectionFailed) and not isinstance(error, errors.Unreached):
            self.invocation.say(
                "kjr: it is unknown whether the job was stored; to find out, run the same command again with "
                f"--idempotency-key {self.idempotency_key}"
            )
        raise error

    # --- interrupts ---

    def _interrupted(self, number: int) -> int:
        self._shown.finish()
        self._writer.end_line()
        mode = self.on_interrupt or ("detach" if interactive() else "cancel")
        if mode == "detach" and self._asked_twice(number):
            mode = "cancel"
        if self.job is None:
            self._await_submit(DETACH_WINDOW_SECONDS if mode == "detach" else SUBMIT_GRACE_SECONDS)
        if self.job is None:
            self.invocation.say(
                "kjr: interrupted before the server answered the submit; to find out whether the job was stored, "
                f"run the same command again with --idempotency-key {self.idempotency_key}"
            )
        elif mode == "cancel":
            self._cancel(self.job, number)
        else:
            reports.continues(self.invocation, self.job.id)
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
