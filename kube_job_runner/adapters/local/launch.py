"""Plans the process of a spec, or refuses a spec that cannot run on this machine.

A job gets `PATH` and the home folder of the runner, so that it finds the programs of this machine. Nothing else of the
runner's environment reaches a job.
"""

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from kube_job_runner.domain.spec.model import JobSpec


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """A program to start. With a `cwd` of None it gets a scratch folder of its own."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: Path | None = None


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """Why a spec cannot run here. Its container waits (`CreateContainerConfigError`) or has failed to start."""

    reason: str
    message: str
    waits: bool = False


def base_environment() -> dict[str, str]:
    """Return the variables of every local job. Those of the spec are added to them."""
    return {"PATH": os.pathsep.join(os.get_exec_path()), "HOME": str(Path.home()), "LANG": "C.UTF-8"}


def plan(spec: JobSpec) -> Launch | Refusal:
    """Return the program to start, or the refusal.

    The reasons are the kubelet's: a missing Secret is `CreateContainerConfigError` with `secret "x" not found`. A container
    that the runtime cannot start is `StartError` with exit code 128.
    """
    if spec.secrets:
        message = f'secret "{spec.secrets[0].name}" not found: a local cluster has no secrets'
        return Refusal(reason="CreateContainerConfigError", message=message, waits=True)
    if spec.volumes:
        volume = spec.volumes[0]
        message = f'volume "{volume.name}" cannot be mounted at {volume.mount_path}: local jobs have no volumes'
        return Refusal(reason="StartError", message=message)
    argv = (*spec.command, *spec.args)
    if not argv:
        message = "no command and no args: the image's own entry point cannot be run by a local cluster"
        return Refusal(reason="StartError", message=message)
    env = {**base_environment(), **spec.env}
    return Launch(argv=argv, env=env, cwd=Path(spec.working_dir) if spec.working_dir else None)
