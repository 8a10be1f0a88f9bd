"""`kjr logs`: prints or follows the log of a job, before, during and after its run."""

from typing import Any

import click

from kube_job_runner.cli import error_report, exitcodes, invocation, job_reference, options
from kube_job_runner.cli.attach import interrupts, log_writer, reports


@click.command("logs")
@click.argument("reference", metavar="ID")
@click.option(
    "-f", "--follow/--no-follow", default=False, help="Wait for the start, and continue until the job has ended."
)
@click.option("--tail", type=click.IntRange(0), metavar="N", help="Start with the last N lines.")
@click.option("--since", metavar="TIME",
              help="Only lines since this time: 10m or 1h30m ago, or a time like 2026-01-15T09:30:00Z.")  # fmt: skip
@click.option("--grep", metavar="TEXT", help="Only lines that contain this text (not a pattern; the server searches).")
@click.option("--container", metavar="NAME", help="Container of the pod. [default: the job's own]")
@click.option("--timestamps", is_flag=True, help="Put the time before each line.")
@click.option("--attempt", type=click.IntRange(1), metavar="N", help="Number of the attempt. [default: the newest]")
@click.option("--exit-code", is_flag=True, help="With -f: return the job's exit code, as `kjr wait` does.")
@click.option("-q", "--quiet", is_flag=True, help="No hints on stderr.")
@options.connection
def command(reference: str, *, follow: bool, exit_code: bool, quiet: bool, **view: Any) -> int:
    """Print the log of a job to stdout, during its run and for as long as the job is kept.

    Files and pipes get the bytes unchanged. On a terminal, control characters are escaped, except for colours.
    """
    current = invocation.current()
    current.quiet, current.waiting = quiet, exit_code
    if exit_code and not follow:
        raise click.UsageError("--exit-code needs -f")
    with current.client() as client:
        job = job_reference.resolve(client, reference)
        writer, empty = log_writer.LogWriter(colored=invocation.color_allowed(current.color)), True
        with interrupts.handled(current, client, lambda: [] if job.terminal else [job.id], submitted_here=False):
            for chunk in client.log_chunks(job.id, follow=follow, **view):
                empty = False
                writer.write(chunk)
                if writer.reader_gone:
                    raise BrokenPipeError
        writer.end_line()
        if empty and job.terminal and job.started_at is None:
            why = ": ".join(part for part in (job.reason, job.explanation) if part)
            never = f"job {job.id} never started, so it has no log" + (f" ({why})" if why else "")
            raise error_report.CommandFailed(never, exit_code=exitcodes.NOT_FOUND)
        if not follow:
            return 0
        job = client.wait(job.id, check=False) if exit_code else client.get(job.id)
    if job.terminal and (exit_code or not job.succeeded):
        reports.end(current, job)
    return exitcodes.of_job(job) if exit_code else 0
