"""What a local job is started with, and what cannot be started and how that reads."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from kube_job_runner.adapters.local import launch
from kube_job_runner.domain import failures
from kube_job_runner.domain.errors import ConfigurationError
from kube_job_runner.domain.spec.field_types import EmptyDir, Secret, Volume
from kube_job_runner.domain.spec.model import JobSpec
from tests.support.clusters import poll
from tests.unit.adapters.local.conftest import Bench, main_of, open_bench, shell


def environment_of(pid: int) -> tuple[bytes, int]:
    """Return the environment that a process was started with, and the owner of the file."""
    file = Path(f"/proc/{pid}/environ")
    return file.read_bytes(), file.stat().st_uid


def children_of(pid: int) -> list[int]:
    """Return the children of a process with one thread."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.asyncio
async def test_a_job_has_a_clean_environment(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNNER_SECRET", "must not leak")
    spec = JobSpec(image="busybox", command=("/usr/bin/env", "-0"), env={"GREETING": "hello\nworld", "LANG": "de_DE"})
    job, facts = await bench.run(spec)
    await bench.until_pod(facts.uid, "Succeeded")
    output = (await bench.log(job, facts.uid)).decode()
    found = dict(item.split("=", 1) for item in output.split("\0") if item)
    assert set(found) == {"PATH", "HOME", "LANG", "GREETING", "KUBE_JOB_RUNNER_LOCAL_JOB"}
    assert found["GREETING"] == "hello\nworld"
    assert found["LANG"] == "de_DE"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux shows an environment in a file")
@pytest.mark.asyncio
async def test_no_ancestor_of_a_job_below_the_runner_has_its_environment(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNNER_SECRET", "must not leak")
    _, facts = await bench.run(shell("exec sleep 300"))
    await bench.until_pod(facts.uid, "Running")
    shim = bench.cluster.shim_pid
    assert shim is not None
    guards = children_of(shim)
    assert len(guards) == 1
    for pid in (shim, *guards):
        environ, owner = environment_of(pid)
        assert b"must not leak" not in environ
        assert owner == 0, "the file belongs to root: nobody else may read it"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.asyncio
async def test_jobs_of_another_user_cannot_read_what_belongs_to_the_server(tmp_path: Path) -> None:
    secret = tmp_path / "connection.json"
    secret.write_text("must not leak")
    secret.chmod(0o600)
    bench = await open_bench(tmp_path, user="nobody")
    script = f"id -u; touch made-by-the-job; cat {secret} /proc/{os.getpid()}/environ $PPID/environ /proc/$PPID/environ; echo end"
    job, facts = await bench.run(shell(script, env={"HOME": "/tmp"}))
    await bench.until_pod(facts.uid, "Succeeded")
    said = (await bench.log(job, facts.uid)).decode()
    assert said.startswith("65534\n"), said
    assert said.endswith("end\n")
    assert said.count("Permission denied") >= 2
    assert "must not leak" not in said
    assert (tmp_path / "local" / facts.uid / "work" / "made-by-the-job").exists()
    _, stuck = await bench.run(shell("env -i setsid sleep 300 & exec sleep 300"))
    await bench.until_pod(stuck.uid, "Running")
    await bench.close()


def test_a_user_that_jobs_cannot_run_as_is_a_wrong_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match="no such user"):
        launch.account("no-such-user-here")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(ConfigurationError, match="only root"):
        launch.account("root")


@pytest.mark.asyncio
async def test_the_path_of_the_job_finds_its_program(bench: Bench, tmp_path: Path) -> None:
    program = tmp_path / "my-tool"
    program.write_text("#!/bin/sh\nexit 42\n")
    program.chmod(0o755)
    _, facts = await bench.run(JobSpec(image="busybox", command=("my-tool",), env={"PATH": str(tmp_path)}))
    assert (await bench.main(facts.uid)).exit_code == 42


@pytest.mark.asyncio
async def test_args_alone_are_the_command(bench: Bench) -> None:
    job, facts = await bench.run(JobSpec(image="busybox", args=("echo", "$HOME", "$$", "a b")))
    await bench.until_pod(facts.uid, "Succeeded")
    assert await bench.log(job, facts.uid) == b"$HOME $$ a b\n"


@pytest.mark.asyncio
async def test_a_job_starts_in_its_working_directory(bench: Bench, tmp_path: Path) -> None:
    job, facts = await bench.run(JobSpec(image="busybox", command=("/bin/pwd",), working_dir=str(tmp_path)))
    await bench.until_pod(facts.uid, "Succeeded")
    assert (await bench.log(job, facts.uid)).decode().strip() == str(tmp_path)


@pytest.mark.asyncio
async def test_without_one_it_starts_in_a_scratch_folder_that_goes_with_the_job(bench: Bench) -> None:
    job, facts = await bench.run(shell("pwd; touch made-by-the-job"))
    await bench.until_pod(facts.uid, "Succeeded")
    folder = Path((await bench.log(job, facts.uid)).decode().strip())
    assert (folder / "made-by-the-job").exists()
    await bench.delete(job, facts.uid)
    await bench.until_gone(facts.uid)
    await poll(lambda: not folder.parent.exists(), what="the job's folder to be removed")


@pytest.mark.asyncio
async def test_standard_input_is_empty_and_both_outputs_are_one_log(bench: Bench) -> None:
    job, facts = await bench.run(shell("cat; echo out; echo err >&2; echo out again"))
    await bench.until_pod(facts.uid, "Succeeded")
    assert await bench.log(job, facts.uid) == b"out\nerr\nout again\n"


@pytest.mark.asyncio
async def test_pods_say_that_the_image_is_not_used(bench: Bench) -> None:
    _, facts = await bench.run(shell("exit 0"))
    pod = await bench.until_pod(facts.uid, "Succeeded")
    assert pod.message == "the image busybox is not used: the command runs as a process of this machine"
    assert pod.node


def _specs(folder: Path) -> dict[str, tuple[JobSpec, str, str]]:
    plain = folder / "plain"
    plain.write_text("not a program")
    plain.chmod(0o644)
    broken = folder / "broken"
    broken.write_bytes(b"\x7fELFnonsense")
    broken.chmod(0o755)
    return {
        "unknown program": (
            JobSpec(image="x", command=("no-such-program",)),
            'exec: "no-such-program": executable file not found in $PATH',
            "CommandNotFound",
        ),
        "unknown path": (
            JobSpec(image="x", command=("/no/such/program",)),
            'exec: "/no/such/program": stat /no/such/program: no such file or directory',
            "CommandNotFound",
        ),
        "not executable": (
            JobSpec(image="x", command=(str(plain),)),
            f'exec: "{plain}": permission denied',
            "CommandNotExecutable",
        ),
        "a folder": (JobSpec(image="x", command=("/tmp",)), 'exec: "/tmp": permission denied', "CommandNotExecutable"),
        "wrong format": (
            JobSpec(image="x", command=(str(broken),)),
            f'exec: "{broken}": exec format error',
            "WrongArchitecture",
        ),
        "no working directory": (
            JobSpec(image="x", command=("true",), working_dir="/no/such/folder"),
            'chdir to cwd ("/no/such/folder") failed: the folder does not exist',
            "ConfigInvalid",
        ),
        "working directory is a file": (
            JobSpec(image="x", command=("true",), working_dir=str(plain)),
            f'chdir to cwd ("{plain}") failed: it is not a folder',
            "ConfigInvalid",
        ),
        "no command": (
            JobSpec(image="x"),
            "no command and no args: the image's own entry point cannot be run by a local cluster",
            "StartFailed",
        ),
        "volume": (
            JobSpec(image="x", command=("true",), volumes=(Volume(name="v", mount_path="/v", empty_dir=EmptyDir()),)),
            'volume "v" cannot be mounted at /v: local jobs have no volumes',
            "ConfigInvalid",
        ),
    }


CASES = (
    "unknown program",
    "unknown path",
    "not executable",
    "a folder",
    "wrong format",
    "no working directory",
    "working directory is a file",
    "no command",
    "volume",
)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.asyncio
async def test_what_cannot_start_ends_as_a_container_that_cannot(bench: Bench, tmp_path: Path, case: str) -> None:
    spec, message, reason = _specs(tmp_path)[case]
    _, facts = await bench.run(spec)
    main = await bench.main(facts.uid)
    assert (main.state, main.reason, main.exit_code, main.message) == ("terminated", "StartError", 128, message)
    assert main.started_at is None
    await poll(lambda: bench.jobs.of(facts.uid)[-1].condition("Failed"), what="the Job to fail")
    finding = failures.classify("container.terminated", main.reason, main.message)
    assert finding is not None
    assert finding.reason == reason


@pytest.mark.asyncio
async def test_a_secret_is_missing_for_ever_and_the_job_can_be_deleted(bench: Bench) -> None:
    spec = shell("true", secrets=(Secret(env="TOKEN", name="api", key="token"),))
    job, facts = await bench.run(spec)
    pod = await bench.until_pod(facts.uid, "Pending")
    main = main_of(pod)
    assert (main.state, main.reason) == ("waiting", "CreateContainerConfigError")
    assert main.message.startswith('secret "api" not found')
    finding = failures.classify("container.waiting", main.reason, main.message)
    assert finding is not None
    assert finding.reason == "ConfigMissing"
    await bench.delete(job, facts.uid)
    await bench.until_gone(facts.uid)


@pytest.mark.asyncio
async def test_a_refused_job_takes_no_slot(tmp_path: Path) -> None:
    bench = await open_bench(tmp_path, max_processes=1)
    spec = shell("true", secrets=(Secret(env="TOKEN", name="api", key="token"),))
    for _ in range(3):
        await bench.run(spec)
    _, facts = await bench.run(shell("exit 5"))
    assert (await bench.main(facts.uid)).exit_code == 5
    await bench.close()


@pytest.mark.parametrize(
    ("fields", "argv"),
    [
        ({"command": ("a", "b")}, ("a", "b")),
        ({"args": ("a", "b")}, ("a", "b")),
        ({"command": ("a",), "args": ("b", "")}, ("a", "b", "")),
    ],
)
def test_plan(fields: dict[str, Any], argv: tuple[str, ...]) -> None:
    planned = launch.plan(JobSpec(image="x", **fields))
    assert isinstance(planned, launch.Launch)
    assert planned.argv == argv
    assert planned.cwd is None


@pytest.mark.asyncio
async def test_the_largest_command_that_a_spec_may_have(bench: Bench) -> None:
    long = "x" * 120_000
    job, facts = await bench.run(shell('printf %s "$1$2"', args=("sh", long, long)))
    assert (await bench.main(facts.uid)).exit_code == 0
    assert len(await bench.log(job, facts.uid)) == 240_000
