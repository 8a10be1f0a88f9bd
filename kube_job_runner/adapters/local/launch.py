"""Plans the process of a spec, or refuses a spec that cannot run on this machine.

A job gets `PATH` and the home folder of the runner, so that it finds the programs of this machine. Nothing else of the
runner's environment reaches a job.
"""

import os
import pwd
from collections.abc import Mapping
from pathlib import Path

import msgspec

from kube_job_runner.domain.errors import ConfigurationError
from kube_job_runner.domain.spec.model import JobSpec


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """Another user for the processes of jobs."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str


def account(user: str) -> Account:
    """Return the account of that name.

    Raises:
        ConfigurationError: there is none, or we are not root and cannot become another user.
    """
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise ConfigurationError(f"KJR_LOCAL_USER={user}: this machine has no such user") from None
    if os.geteuid() != 0:
        raise ConfigurationError(f"KJR_LOCAL_USER={user}: only root can run jobs as another user")
    groups = tuple(os.getgrouplist(user, entry.pw_gid))
    return Account(uid=entry.pw_uid, gid=entry.pw_gid, groups=groups, home=entry.pw_dir)


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


def base_environment(user: Account | None = None) -> dict[str, str]:
    """Return the variables of every local job. Those of the spec are added to them."""
    home = str(Path.home()) if user is None else user.home
    return {"PATH": os.pathsep.join(os.get_exec_path()), "HOME": home, "LANG": "C.UTF-8"}


def plan(spec: JobSpec, user: Account | None = None) -> Launch | Refusal:
    """Return the program to start, as `user` (None: as ourselves), or the refusal.

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
    env = {**base_environment(user), **spec.env}
    return Launch(argv=argv, env=env, cwd=Path(spec.working_dir) if spec.working_dir else None)
