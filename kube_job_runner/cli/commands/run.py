"""`kjr run`: submits a job, shows its phases and its log, and returns its exit code."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from kube_job_runner.cli import invocation, job_reference, options
from kube_job_runner.cli.attach import reports
from kube_job_runner.cli.terminal import output

_TIMEOUTS = {"run": "timeout", "start": "start_timeout", "queue": "queue_timeout"}


class RunCommand(click.Command):
    """The command. Options end at IMAGE, as with docker and kubectl: what follows is the command of the container."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.allow_interspersed_args = False
        parsed = super().parse_args(ctx, args)
        cmd = ctx.params.get("cmd") or ()
        if cmd[:1] == ("--",):
            ctx.params["cmd"] = cmd[1:]
        elif cmd and cmd[0].startswith("-") and not ctx.params.get("entrypoint"):
            raise click.UsageError(
                f"{cmd[0]} follows IMAGE, so it belongs to the command of the container. Put options of kjr before IMAGE, "
                "and -- before a command that begins with -.",
                ctx,
            )
        return parsed


@click.command("run", cls=RunCommand)
@click.argument("image")
@click.argument("cmd", nargs=-1, metavar="[CMD...]", type=click.UNPROCESSED)
@click.option("-e", "--env", multiple=True, type=options.KEY_VALUE, help="Environment variable. May be repeated.")
@click.option("--env-file", "env_files", multiple=True, metavar="FILE", help="File of KEY=VALUE lines.")
@click.option("--secret", "secrets", multiple=True, metavar="ENV=NAME:KEY", help="Variable from a Kubernetes Secret.")
@click.option("--cpu", metavar="QUANTITY", help="CPU request, like 500m or 2.")
@click.option("--memory", metavar="QUANTITY", help="Memory request and limit, like 512Mi.")
@click.option("--gpu", type=click.IntRange(0), help="Number of GPUs.")
@click.option("-q", "--queue", help="Queue of the job.")
@click.option("--name", help="Name of the job. [default: made from the image]")
@click.option("-l", "--label", "labels", multiple=True, type=options.KEY_VALUE, help="Label. May be repeated.")
@click.option("--timeout", type=options.DURATION, help="How long the job may run, like 10m.")
@click.option("--start-timeout", type=options.DURATION, help="How long the job may take to start.")
@click.option("--queue-timeout", type=options.DURATION, help="How long the job may wait in the queue.")
@click.option("--retries", type=click.IntRange(0), help="How often a failed run is retried.")
@click.option("--priority", type=int, help="Priority, from -100 to 100. Higher runs first.")
@click.option("--namespace", help="Kubernetes namespace to run in.")
@click.option("--service-account", metavar="NAME", help="Kubernetes service account to run as.")
@click.option("--workdir", "working_dir", metavar="PATH", help="Directory that the command starts in.")
@click.option("--keep-entrypoint", "entrypoint", is_flag=True, help="Pass CMD as arguments to the image's entrypoint.")
@options.set_fields
@click.option("-d", "--detach", is_flag=True, help="Print the id and return at once.")
@click.option("--dry-run", is_flag=True, help="Print the spec and submit nothing.")
@options.idempotency_key
@click.option(
    "--on-interrupt",
    type=click.Choice(["detach", "cancel"]),
    help="What Ctrl-C does. [default: on a terminal it detaches, and twice cancels; elsewhere it cancels]",
)
@options.output("log", "json", "jsonl", "yaml", "name", "id", default="log", short_quiet=False)
@options.connection
def command(
    cmd: tuple[str, ...],
    *,
    assignments: tuple[tuple[str, str], ...],
    detach: bool,
    dry_run: bool,
    idempotency_key: str | None,
    on_interrupt: str | None,
    **flags: Any,
) -> int:
    """Run CMD in IMAGE and return its exit code.

    Options end at IMAGE. Phases and messages go to stderr, the log goes to stdout. CMD is the whole command; with
    --keep-entrypoint it holds the arguments of the image's entrypoint. The last line of stderr says why a job failed.
    """
    current = invocation.current()
    spec = _build_spec(cmd, flags)
    if assignments:
        from kube_job_runner.cli import set_option

        changes = set_option.read(assignments)
        set_option.refuse_given(spec, changes)
        spec = set_option.apply(spec, changes)
    if dry_run:
        output.write_objects([spec], "json" if current.output in ("json", "jsonl") else "yaml", single=True)
        return 0
    from kube_job_runner.client import api_calls

    key = idempotency_key or api_calls.new_idempotency_key()
    # The options name fields that every server knows. A path of --set may be misspelled, and must not be ignored.
    strict = bool(assignments)
    if detach:
        return _detached(current, spec, key, strict=strict)
    from kube_job_runner.cli.attach import attached_run

    with current.client(patience=6.0) as client:
        attached = attached_run.AttachedRun(current, client, key, on_interrupt)
        return attached.run(lambda: client.submit(spec, idempotency_key=key, strict=strict))


def _detached(current: invocation.Invocation, spec: dict[str, Any], key: str, *, strict: bool) -> int:
    with current.client(patience=10.0) as client:
        job = client.submit(spec, idempotency_key=key, strict=strict)
        job_reference.remember(client, job.id)
    reports.warnings(current, job)
    output.write_objects([job.raw], "id" if current.output == "log" else current.output, single=True)
    reports.continues(current, job.id)
    return 0


def _build_spec(command: Sequence[str], flags: Mapping[str, Any]) -> dict[str, Any]:
    """Return the spec. Options that were not given are absent, so that the server's defaults hold.

    Raises:
        UsageError: a value is invalid.
    """
    env: dict[str, str] = {}
    for name in flags["env_files"]:
        env.update(_read_env_file(name))
    env.update(flags["env"])
    spec: dict[str, Any] = {
        "image": flags["image"],
        "name": flags["name"],
        ("args" if flags["entrypoint"] else "command"): list(command),
        "env": env,
        "secrets": [_secret(text) for text in flags["secrets"]],
        "labels": dict(flags["labels"]),
        **{name: flags[name] for name in ("queue", "namespace", "service_account", "working_dir", "priority")},
        "resources": _given({name: flags[name] for name in ("cpu", "memory", "gpu")}),
        "timeouts": _given({f"{name}_seconds": _whole(flags, option) for name, option in _TIMEOUTS.items()}),
        "retry": {} if flags["retries"] is None else {"attempts": flags["retries"] + 1},
    }
    return _given(spec)


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value not in (None, [], {})}


def _whole(flags: Mapping[str, Any], option: str) -> int | None:
    seconds: float | None = flags[option]
    if seconds is not None and (seconds != int(seconds) or seconds < 1):
        flag = option.replace("_", "-")
        raise click.UsageError(f"--{flag}: must be a whole number of seconds, at least 1s")
    return None if seconds is None else int(seconds)


def _secret(text: str) -> dict[str, str]:
    """Return the secret reference of `ENV=NAME:KEY`. Without a key, the name of the variable is the key."""
    env, separator, source = text.partition("=")
    name, _, key = source.partition(":")
    if not env or not separator or not name:
        raise click.UsageError(f"--secret {text!r}: write it like ENV=NAME:KEY (never put a secret value here)")
    return {"env": env, "name": name, "key": key or env}


def _read_env_file(name: str) -> dict[str, str]:
    """Return the variables of a file: KEY=VALUE lines, taken literally, and # comments, as in `docker run --env-file`.

    A line ends with LF or CRLF. Every other character, trailing blanks included, belongs to the value.

    Raises:
        UsageError: the file cannot be read, or a line is not a pair.
    """
    try:
        content = Path(name).read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise click.UsageError(f"--env-file {name}: {error}") from None
    env: dict[str, str] = {}
    for number, raw in enumerate(content.split("\n"), start=1):
        line = raw.removesuffix("\r").lstrip(" \t")
        if not line.strip(" \t") or line.startswith("#"):
            continue
        key, separator, value = line.partition("=")
        if not separator or not key.strip(" \t"):
            raise click.UsageError(f"--env-file {name}, line {number}: write it like KEY=VALUE")
        env[key.strip(" \t")] = value
    return env
