"""Messages on stderr about a job: warnings of the server, its end, how to return to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kube_job_runner.cli.invocation import Invocation
from kube_job_runner.cli.terminal import output, text

if TYPE_CHECKING:
    from kube_job_runner.client import Job


def warnings(invocation: Invocation, job: Job) -> None:
    """Print the warnings of the server about the spec, such as unknown fields."""
    for warning in job.warnings or ():
        parts = [warning.get("pointer"), warning.get("detail")] if isinstance(warning, dict) else [warning]
        invocation.say("kjr: warning: " + " ".join(text.line(part) for part in parts if part))


def continues(invocation: Invocation, job_id: str) -> None:
    """Say that the job with this id continues, and print the commands that lead back to it."""
    identity = text.line(job_id)
    invocation.note(
        f"kjr: the job continues; to return to it:\n  kjr logs -f {identity}\n  kjr wait {identity}\n  kjr cancel {identity}"
    )


def end(invocation: Invocation, job: Job) -> None:
    """Print how a job ended, as the last line on stderr. For a job that did not succeed it is printed even with `--quiet`."""
    if job.succeeded:
        took = output.run_time(job)
        invocation.note(f"kjr: job {text.line(job.id)} succeeded" + (f" in {took}" if took else ""))
        return
    parts = [f"kjr: job {text.line(job.id)} {text.line(job.state)}", job.reason, job.explanation]
    docs = f" (docs: kjr explain {text.line(job.reason)})" if job.state == "failed" and job.reason else ""
    invocation.say(": ".join(text.line(part) for part in parts if part) + docs)
