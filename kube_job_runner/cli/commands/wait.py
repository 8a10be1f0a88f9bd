"""`kjr wait`: waits until jobs have ended, and returns their exit code."""

import click

from kube_job_runner.cli import invocation, job_reference, options
from kube_job_runner.cli.attach import joint_wait
from kube_job_runner.cli.terminal import output


@click.command("wait")
@click.argument("references", nargs=-1, required=True, metavar="ID...")
@click.option("--any", "first", is_flag=True, help="Return when the first job has ended, with its exit code.")
@click.option("--wait-timeout", type=options.DURATION, help="Return 75 if the jobs have not ended after this time.")
@options.output()
@options.connection
def command(references: tuple[str, ...], *, first: bool, wait_timeout: float | None) -> int:
    """Wait until jobs have ended, in any terminal state, and return the job's own exit code.

    With several jobs the code is 0 if all succeeded, else 1.
    """
    current = invocation.current()
    if first and len(references) > joint_wait.ANY_MAX:
        raise click.UsageError(f"--any takes at most {joint_wait.ANY_MAX} jobs")
    with current.client() as client:
        ids = list(dict.fromkeys(job_reference.resolve(client, reference).id for reference in references))
        wait = joint_wait.wait_any if first else joint_wait.wait_all
        jobs, code = wait(client, current, ids, wait_timeout)
    output.write_jobs(jobs, current, single=len(ids) == 1 or first)
    return code
