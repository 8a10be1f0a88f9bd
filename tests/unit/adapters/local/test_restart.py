"""What a new runner finds of the jobs of an earlier one, and that a killed runner leaves nothing running."""

from __future__ import annotations

import signal
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import uvloop

from kube_job_runner.adapters.local import LocalCluster
from kube_job_runner.domain.errors import ConfigurationError, NameTaken, TemporaryError
from kube_job_runner.ports import ClusterJob
from tests.support.clocks import SystemClock
from tests.support.clusters import cluster_job, poll
from tests.unit.adapters.local.conftest import main_of, open_bench, shell
from tests.unit.adapters.local.test_stopping import pid_in, runs

OWNER = """
import asyncio, pathlib, sys
from kube_job_runner.adapters.local import LocalCluster
from tests.support.clocks import SystemClock
from tests.support.clusters import cluster_job
from tests.unit.adapters.local.conftest import shell

async def main(folder):
    cluster = LocalCluster(folder, clock=SystemClock())
    await cluster.start()
    script = "sleep 300 & echo $! > child; setsid sh -c 'echo $$ > daemon; exec sleep 300' & echo $$ > main; wait"
    await cluster.create(cluster_job(shell(script, working_dir=str(folder))))
    await asyncio.Event().wait()

asyncio.run(main(pathlib.Path(sys.argv[1])))
"""


@pytest.mark.asyncio
async def test_a_restart_keeps_what_ended_loses_what_ran_and_runs_what_waited(tmp_path: Path) -> None:
    first = await open_bench(tmp_path, max_processes=1)
    ended_job, ended = await first.run(shell("echo kept; exit 3"))
    await first.main(ended.uid)
    _, ran = await first.run(shell("exec sleep 300"))
    await first.until_pod(ran.uid, "Running")
    _, waited = await first.run(shell("exit 5"))
    await first.until_pod(waited.uid, "Pending")
    highest = max(event.facts.resource_version for event in [*first.jobs.changes, *first.pods.changes])
    await first.close()

    second = await open_bench(tmp_path)
    listed = {event.facts.uid: event for event in second.jobs.lists[0]}
    assert set(listed) == {ended.uid, ran.uid, waited.uid}
    assert listed[ended.uid].job_id == ended_job.job_id
    assert listed[ended.uid].facts.condition("Failed")
    assert main_of(await second.until_pod(ended.uid, "Failed")).exit_code == 3
    assert await second.log(ended_job, ended.uid) == b"kept\n"

    lost = main_of(await second.until_pod(ran.uid, "Failed"))
    assert (lost.reason, lost.exit_code) == ("ContainerStatusUnknown", 137)
    assert lost.message == "the runner stopped while the job ran"
    assert listed[ran.uid].facts.condition("Failed")
    assert listed[ran.uid].facts.resource_version > highest

    assert (await second.main(waited.uid)).exit_code == 5
    adopted = await second.cluster.create(ended_job)
    assert adopted.uid == ended.uid
    await second.close()


class SlowClock(SystemClock):
    """A machine whose clock was set back by a day."""

    def now(self) -> datetime:
        return super().now() - timedelta(days=1)


@pytest.mark.asyncio
async def test_versions_grow_over_restarts_even_when_the_clock_was_set_back(tmp_path: Path) -> None:
    first = await open_bench(tmp_path)
    _, old = await first.run(shell("exit 0"))
    await first.main(old.uid)
    highest = max(event.facts.resource_version for event in [*first.jobs.changes, *first.pods.changes])
    await first.close()
    cluster = LocalCluster(tmp_path, clock=SlowClock())
    await cluster.start()
    assert (await cluster.create(cluster_job(shell("exit 0")))).resource_version > highest
    await cluster.close()


@pytest.mark.asyncio
async def test_versions_grow_over_restarts_even_when_no_job_is_left(tmp_path: Path) -> None:
    first = await open_bench(tmp_path)
    job, old = await first.run(shell("exit 0"))
    await first.main(old.uid)
    await first.delete(job, old.uid)
    await first.until_gone(old.uid)
    highest = max(event.facts.resource_version for event in first.jobs.changes)
    await first.close()
    second = await open_bench(tmp_path)
    _, new = await second.run(shell("exit 0"))
    assert new.resource_version > highest
    await second.close()


@pytest.mark.asyncio
async def test_a_job_that_was_being_deleted_is_not_there_after_a_restart(tmp_path: Path) -> None:
    first = await open_bench(tmp_path)
    spec = shell('trap "" TERM; echo ready; while :; do sleep 0.02; done', stop_grace_seconds=60)
    for wait_for_pods in (True, False):
        job, facts = await first.run(spec)
        await first.until_pod(facts.uid, "Running")
        await first.delete(job, facts.uid, wait_for_pods=wait_for_pods)
    await first.close()
    second = await open_bench(tmp_path)
    assert second.jobs.lists == [[]]
    assert second.pods.lists == [[]]
    assert [entry.name for entry in (tmp_path / "local").iterdir()] == ["lock"]
    await second.close()


@pytest.mark.asyncio
async def test_a_broken_record_is_removed_and_the_others_are_kept(tmp_path: Path) -> None:
    first = await open_bench(tmp_path)
    _, good = await first.run(shell("exit 0"))
    _, bad = await first.run(shell("exit 0"))
    await first.main(good.uid)
    await first.main(bad.uid)
    await first.close()
    (tmp_path / "local" / bad.uid / "job.json").write_bytes(b'{"job_id": "half')
    (tmp_path / "local" / "no-record-at-all").mkdir()
    second = await open_bench(tmp_path)
    assert [event.facts.uid for event in second.jobs.lists[0]] == [good.uid]
    assert sorted(entry.name for entry in (tmp_path / "local").iterdir()) == sorted([good.uid, "lock"])
    await second.close()


@pytest.mark.asyncio
async def test_two_runners_do_not_share_a_folder(tmp_path: Path) -> None:
    first = await open_bench(tmp_path)
    second = LocalCluster(tmp_path, clock=SystemClock())
    with pytest.raises(ConfigurationError, match="another runner"):
        await second.start()
    await second.close()
    await first.close()
    await second.start()
    await second.close()


@pytest.mark.asyncio
async def test_a_folder_that_cannot_be_used_is_a_temporary_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TemporaryError, match="cannot be used"):
        await LocalCluster(tmp_path / "file", clock=SystemClock()).start()


@pytest.mark.asyncio
async def test_a_start_that_failed_can_be_tried_again(tmp_path: Path) -> None:
    broken = tmp_path / "local" / "some-uid" / "job.json"
    broken.mkdir(parents=True)
    cluster = LocalCluster(tmp_path, clock=SystemClock())
    with pytest.raises(TemporaryError, match="cannot be used"):
        await cluster.start()
    broken.rmdir()
    await cluster.start()
    await cluster.close()


@pytest.mark.asyncio
async def test_a_job_that_cannot_be_written_is_not_taken(tmp_path: Path) -> None:
    bench = await open_bench(tmp_path)
    job = cluster_job(shell("exit 0"))
    (tmp_path / "local").rename(tmp_path / "elsewhere")
    (tmp_path / "local").write_text("")
    with pytest.raises(TemporaryError, match="cannot be written"):
        await bench.cluster.create(job)
    assert await bench.cluster.find(job.namespace, job.cluster_name) is None
    (tmp_path / "local").unlink()
    (tmp_path / "elsewhere").rename(tmp_path / "local")
    facts = await bench.cluster.create(job)
    assert (await bench.main(facts.uid)).exit_code == 0
    await bench.close()


@pytest.mark.asyncio
async def test_a_killed_runner_leaves_nothing_running(tmp_path: Path) -> None:
    owner = subprocess.Popen([sys.executable, "-c", OWNER, str(tmp_path)], stderr=subprocess.DEVNULL)  # noqa: ASYNC220
    try:
        left = ["main", "child"] + (["daemon"] if sys.platform == "linux" else [])
        pids = [await pid_in(tmp_path / name) for name in left]
        assert all(runs(pid) for pid in pids)
    finally:
        owner.send_signal(signal.SIGKILL)
        owner.wait()
    await poll(lambda: not any(runs(pid) for pid in pids), what="everything to die with the runner")
    bench = await open_bench(tmp_path)
    (event,) = bench.pods.lists[0]
    assert main_of(event.facts).reason == "ContainerStatusUnknown"
    await bench.close()


def test_it_works_on_uvloop(tmp_path: Path) -> None:
    async def run() -> tuple[int | None, bytes]:
        bench = await open_bench(tmp_path)
        job, facts = await bench.run(shell("echo on uvloop; exit 9"))
        main = await bench.main(facts.uid)
        output = await bench.log(job, facts.uid)
        await bench.close()
        return main.exit_code, output

    assert uvloop.run(run()) == (9, b"on uvloop\n")


@pytest.mark.asyncio
async def test_names_are_per_namespace(tmp_path: Path) -> None:
    bench = await open_bench(tmp_path)
    one = cluster_job(shell("exit 0"), namespace="one")
    two = ClusterJob(
        job_id=one.job_id,
        attempt=1,
        namespace="two",
        cluster_name=one.cluster_name,
        queue="default",
        spec=one.spec,
        spec_hash=one.spec_hash,
    )
    assert (await bench.cluster.create(one)).uid != (await bench.cluster.create(two)).uid
    with pytest.raises(NameTaken):
        await bench.cluster.create(cluster_job_named(one))
    await bench.close()


def cluster_job_named(other: ClusterJob) -> ClusterJob:
    """Another job under the name of this one."""
    fresh = cluster_job(other.spec, namespace=other.namespace)
    return ClusterJob(
        job_id=fresh.job_id,
        attempt=1,
        namespace=other.namespace,
        cluster_name=other.cluster_name,
        queue="default",
        spec=other.spec,
        spec_hash=other.spec_hash,
    )
