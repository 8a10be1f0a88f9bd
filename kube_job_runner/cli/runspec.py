"""The spec that the flags of `kjr run` describe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click


@dataclass(frozen=True, kw_only=True)
class RunFlags:
    """What was typed; durations are seconds."""

    image: str
    command: Sequence[str] = ()
    entrypoint: bool = False
    env: Sequence[tuple[str, str]] = ()
    env_files: Sequence[str] = ()
    secrets: Sequence[str] = ()
    labels: Sequence[tuple[str, str]] = ()
    name: str | None = None
    queue: str | None = None
    namespace: str | None = None
    service_account: str | None = None
    working_dir: str | None = None
    cpu: str | None = None
    memory: str | None = None
    gpu: int | None = None
    priority: int | None = None
    timeout: float | None = None
    start_timeout: float | None = None
    queue_timeout: float | None = None
    retries: int | None = None


def build(flags: RunFlags) -> dict[str, Any]:
    """Return the spec, without what was not typed: defaults are the server's.

    Raises:
        UsageError: a value cannot be read.
    """
    env: dict[str, str] = {}
    for name in flags.env_files:
        env.update(read_env_file(name))
    env.update(flags.env)
    spec: dict[str, Any] = {
        "image": flags.image,
        "name": flags.name,
        ("args" if flags.entrypoint else "command"): list(flags.command),
        "env": env,
        "secrets": [secret(text) for text in flags.secrets],
        "labels": dict(flags.labels),
        "queue": flags.queue,
        "namespace": flags.namespace,
        "service_account": flags.service_account,
        "working_dir": flags.working_dir,
        "priority": flags.priority,
        "resources": _given(cpu=flags.cpu, memory=flags.memory, gpu=flags.gpu),
        "timeouts": _given(
            run_seconds=_whole(flags.timeout, "--timeout"),
            start_seconds=_whole(flags.start_timeout, "--start-timeout"),
            queue_seconds=_whole(flags.queue_timeout, "--queue-timeout"),
        ),
        "retry": {} if flags.retries is None else {"attempts": flags.retries + 1},
    }
    return {key: value for key, value in spec.items() if value not in (None, [], {})}


def _given(**values: Any) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def _whole(seconds: float | None, flag: str) -> int | None:
    if seconds is None:
        return None
    if seconds != int(seconds) or seconds < 1:
        raise click.UsageError(f"{flag}: must be a whole number of seconds, at least 1s")
    return int(seconds)


def secret(text: str) -> dict[str, str]:
    """Return the secret reference of `ENV=NAME:KEY`; without a key, the variable's name is the key."""
    env, separator, source = text.partition("=")
    name, _, key = source.partition(":")
    if not env or not separator or not name:
        raise click.UsageError(f"--secret {text!r}: write it like ENV=NAME:KEY (a value is never given here)")
    return {"env": env, "name": name, "key": key or env}


def read_env_file(name: str) -> dict[str, str]:
    """Return the variables of a file as `docker run --env-file` reads it: KEY=VALUE lines, taken literally; # comments.

    Raises:
        UsageError: it cannot be read, or a line is not a pair.
    """
    try:
        content = Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise click.UsageError(f"--env-file {name}: {error}") from None
    env: dict[str, str] = {}
    for number, raw in enumerate(content.splitlines(), start=1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        key, separator, value = line.partition("=")
        if not separator or not key:
            raise click.UsageError(f"--env-file {name}, line {number}: write it like KEY=VALUE")
        env[key.strip()] = value
    return env
