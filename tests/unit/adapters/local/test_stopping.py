"""How local jobs are stopped, and that nothing of a job is left when it has ended."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from tests.support.clusters import poll
from tests.unit.adapters.local.conftest import Bench, main_of, shell

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux gives orphans to the shim")


def runs(pid: int) -> bool:
    """Whether a process exists that is not a zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] != b"Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def pid_in(file: Path) -> int:
    """The process id that a job writes into a file."""
    return await poll(lambda: int(file.read_text() or 0) if file.exists() else 0, what=f"a pid in {file.name}")


@pytest.mark.asyncio
async def test_sigterm_is_asked_first_and_the_job_chooses_its_exit_code(bench: Bench) -> None:
    job, facts = await bench.run(shell('trap "echo bye; exit 7" TERM; echo ready; while :; do sleep 0.02; done'))
    await poll(lambda: _log_file(bench, facts.uid).read_bytes() == b"ready\n", what="the job to be ready")
    await bench.delete(job, facts.uid)
    await bench.until_gone(facts.uid)
    ended = [pod for pod in bench.pods.pods_of(facts.uid) if pod.phase == "Failed"]
    main = main_of(ended[0])
    assert (main.exit_code, main.reason, main.signal) == (7, "Error", None)
    assert ended[0].deleting


@pytest.mark.asyncio
async def test_a_job_that_does_nothing_about_sigterm_ends_by_it(bench: Bench) -> None:
    job, facts = await bench.run(shell("exec sleep 300"))
    await bench.until_pod(facts.uid, "Running")
    await bench.delete(job, facts.uid)
    await bench.until_gone(facts.uid)
    main = main_of(next(pod for pod in bench.pods.pods_of(facts.uid) if pod.phase == "Failed"))
    assert (main.exit_code, main.signal) == (143, signal.SIGTERM)


@pytest.mark.parametrize("grace_seconds", [0, 1])
@pytest.mark.asyncio
async def test_a_job_that_ignores_sigterm_is_killed_after_its_grace(bench: Bench, grace_seconds: int) -> None:
    spec = shell('trap "" TERM; echo ready; while :; do sleep 0.02; done', stop_grace_seconds=grace_seconds)
    job, facts = await bench.run(spec)
    await poll(lambda: _log_file(bench, facts.uid).read_bytes() == b"ready\n", what="the job to be ready")
    await bench.delete(job, facts.uid)
    await bench.until_gone(facts.uid)
    main = main_of(next(pod for pod in bench.pods.pods_of(facts.uid) if pod.phase == "Failed"))
    assert (main.exit_code, main.signal) == (137, signal.SIGKILL)


@pytest.mark.asyncio
async def test_a_job_stopped_as_it_starts_never_runs_on(bench: Bench) -> None:
    for _ in range(10):
        job, facts = await bench.run(shell("exec sleep 300"))
        await bench.delete(job, facts.uid)
        await bench.until_gone(facts.uid)


@pytest.mark.asyncio
async def test_a_process_that_kills_itself_is_told_with_its_signal(bench: Bench) -> None:
    _, facts = await bench.run(shell("kill -SEGV $$"))
    main = await bench.main(facts.uid)
    assert (main.exit_code, main.signal, main.reason) == (139, signal.SIGSEGV, "Error")


@pytest.mark.parametrize(
    "left_behind",
    [
        pytest.param("sleep 300 & echo $! > $F", id="child"),
        pytest.param("(sleep 300 & echo $! > $F) &", id="grandchild"),
        pytest.param("(trap '' TERM HUP; sleep 300 & echo $! > $F; wait) &", id="deaf child"),
        pytest.param("setsid sh -c 'echo $$ > $F; exec sleep 300' &", id="own session", marks=linux),
        pytest.param("setsid sh -c 'sleep 300 & echo $! > $F; wait' &", id="child of own session", marks=linux),
    ],
)
@pytest.mark.asyncio
async def test_what_a_job_leaves_behind_is_killed_when_it_ends(bench: Bench, tmp_path: Path, left_behind: str) -> None:
    file = tmp_path / "pid"
    _, facts = await bench.run(shell(f"{left_behind}\nwhile [ ! -s $F ]; do sleep 0.02; done", env={"F": str(file)}))
    assert (await bench.main(facts.uid)).exit_code == 0
    pid = await pid_in(file)
    await poll(lambda: not runs(pid), what="what the job left behind to be killed")


@pytest.mark.asyncio
async def test_close_leaves_nothing_running(bench: Bench, tmp_path: Path) -> None:
    files = [tmp_path / f"pid-{number}" for number in range(3)]
    for file in files:
        await bench.run(shell('trap "" TERM; echo $$ > $F; while :; do sleep 0.02; done', env={"F": str(file)}))
    pids = [await pid_in(file) for file in files]
    shim = bench.cluster.shim_pid
    assert shim is not None
    await bench.cluster.close()
    assert not any(runs(pid) for pid in [*pids, shim])


@pytest.mark.asyncio
async def test_when_the_shim_is_killed_its_jobs_are_lost_and_the_next_one_runs(bench: Bench, tmp_path: Path) -> None:
    file = tmp_path / "pid"
    _, facts = await bench.run(shell("echo $$ > $F; exec sleep 300", env={"F": str(file)}))
    pid = await pid_in(file)
    shim = bench.cluster.shim_pid
    assert shim is not None
    os.kill(shim, signal.SIGKILL)
    main = await bench.main(facts.uid)
    assert (main.reason, main.exit_code) == ("ContainerStatusUnknown", 137)
    assert main.message == "the program that runs the local jobs was killed while the job ran"
    await poll(lambda: bench.jobs.of(facts.uid)[-1].condition("Failed"), what="the Job to fail")
    if sys.platform == "linux":
        await poll(lambda: not runs(pid), what="the job to die with the shim")
    _, again = await bench.run(shell("exit 4"))
    assert (await bench.main(again.uid)).exit_code == 4


def _log_file(bench: Bench, uid: str) -> Path:
    return bench.folder / "local" / uid / "log"
