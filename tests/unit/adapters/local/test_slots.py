"""How many local jobs run at once, in which order, and a thousand of them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from kube_job_runner.ports import SeenPod
from tests.support.clusters import poll
from tests.unit.adapters.local.conftest import Bench, open_bench, shell


def most_running(bench: Bench) -> int:
    """The most pods that were Running at once, by what the watcher saw."""
    running: set[str] = set()
    most = 0
    for event in bench.pods.events:
        if isinstance(event, SeenPod):
            (running.add if event.facts.phase == "Running" else running.discard)(event.facts.uid)
            most = max(most, len(running))
    return most


@pytest.mark.asyncio
async def test_jobs_beyond_the_limit_wait_in_order_and_say_so(tmp_path: Path) -> None:
    bench = await open_bench(tmp_path, max_processes=2)
    flag, order = tmp_path / "go", tmp_path / "order"
    script = "echo $N >> $ORDER; while [ ! -e $FLAG ]; do sleep 0.02; done"
    uids = []
    for number in range(6):
        env = {"FLAG": str(flag), "ORDER": str(order), "N": str(number)}
        uids.append((await bench.run(shell(script, env=env)))[1].uid)
    waiting = await bench.until_pod(uids[5], "Pending")
    (condition,) = waiting.conditions
    assert (condition.type, condition.status, condition.reason) == ("PodScheduled", "False", "Unschedulable")
    assert condition.message == "2 processes run already; waiting for a free slot"
    await poll(lambda: order.exists() and len(order.read_text().split()) == 2, what="two jobs to run")
    flag.touch()
    for uid in uids:
        await bench.until_pod(uid, "Succeeded")
    assert most_running(bench) <= 2
    started = [
        event.facts.job_uid
        for event in bench.pods.events
        if isinstance(event, SeenPod) and event.facts.phase == "Running"
    ]
    assert started == uids
    await bench.close()


@pytest.mark.asyncio
async def test_a_waiting_job_that_is_deleted_never_runs(tmp_path: Path) -> None:
    bench = await open_bench(tmp_path, max_processes=1)
    flag, proof = tmp_path / "go", tmp_path / "proof"
    await bench.run(shell(f"while [ ! -e {flag} ]; do sleep 0.02; done"))
    waiting, waiting_facts = await bench.run(shell(f"touch {proof}"))
    _, last_facts = await bench.run(shell("exit 6"))
    await bench.delete(waiting, waiting_facts.uid)
    await bench.until_gone(waiting_facts.uid)
    flag.touch()
    assert (await bench.main(last_facts.uid)).exit_code == 6
    assert not proof.exists()
    assert {pod.phase for pod in bench.pods.pods_of(waiting_facts.uid)} == {"Pending"}
    await bench.close()


@pytest.mark.asyncio
async def test_a_thousand_short_jobs(tmp_path: Path) -> None:
    bench = await open_bench(tmp_path, max_processes=16)
    jobs = [shell(f"exit {number % 7}") for number in range(1000)]
    created = await asyncio.gather(*(bench.run(spec) for spec in jobs))

    # Each job is seen as it is created and as it ends, between the events of the one list.
    await poll(lambda: len(bench.jobs.events) >= 2 + 2000, what="a thousand jobs to end")
    codes = {
        event.facts.job_uid: event.facts.containers[0].exit_code
        for event in bench.pods.events
        if isinstance(event, SeenPod) and event.facts.ended
    }
    assert [codes[facts.uid] for _, facts in created] == [number % 7 for number in range(1000)]
    assert most_running(bench) <= 16
    for job, facts in created:
        await bench.delete(job, facts.uid)
    await poll(lambda: len(list((tmp_path / "local").iterdir())) == 1, what="all but the lock to be removed")
    await bench.close()


@pytest.mark.asyncio
async def test_two_hundred_jobs_at_once(tmp_path: Path) -> None:
    bench = await open_bench(tmp_path, max_processes=200)
    flag = tmp_path / "go"
    script = f"while [ ! -e {flag} ]; do sleep 0.5; done"
    created = await asyncio.gather(*(bench.run(shell(script)) for _ in range(200)))
    await poll(lambda: most_running(bench) == 200, what="two hundred jobs to run at once")
    for job, facts in created:
        await bench.delete(job, facts.uid)
    for _, facts in created:
        await bench.until_gone(facts.uid)
    await bench.close()
