"""Logs of local jobs: much of it, too much of it, and reading from the end."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from kube_job_runner.adapters.local import log_files
from tests.support.clusters import poll
from tests.unit.adapters.local.conftest import open_bench, shell


@pytest.mark.asyncio
async def test_ten_megabytes_come_through_whole(tmp_path: Path) -> None:
    bench = await open_bench(tmp_path)
    job, facts = await bench.run(shell("yes 0123456789abcde | head -c 10000000"))
    await bench.until_pod(facts.uid, "Running", "Succeeded")
    output = await bench.log(job, facts.uid)
    assert output == (b"0123456789abcde\n" * 625_000)
    await bench.close()


@pytest.mark.asyncio
async def test_a_log_is_cut_at_its_limit_and_says_so(tmp_path: Path) -> None:
    bench = await open_bench(tmp_path, log_max_bytes=1000)
    job, facts = await bench.run(shell("yes 0123456789abcde | head -c 100000; exit 3"))
    assert (await bench.main(facts.uid)).exit_code == 3, "a full log is no fault of the job"
    output = await bench.log(job, facts.uid)
    assert output == (b"0123456789abcde\n" * 63)[:1000] + log_files.mark(1000)
    assert (tmp_path / "local" / facts.uid / "log").stat().st_size == 1001
    await bench.close()


@pytest.mark.asyncio
async def test_a_log_of_exactly_its_limit_is_not_cut(tmp_path: Path) -> None:
    bench = await open_bench(tmp_path, log_max_bytes=1000)
    job, facts = await bench.run(shell("yes 0123456789abcde | head -c 1000"))
    await bench.until_pod(facts.uid, "Succeeded")
    assert len(await bench.log(job, facts.uid)) == 1000
    await bench.close()


@pytest.mark.asyncio
async def test_a_running_job_that_prints_for_ever_is_cut_again_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kube_job_runner.adapters.local.runs.CAP_SECONDS", 0.01)
    bench = await open_bench(tmp_path, log_max_bytes=50_000)
    job, facts = await bench.run(shell("while :; do head -c 20000 /dev/zero; sleep 0.001; done"))
    file = tmp_path / "local" / facts.uid / "log"
    sizes: list[int] = []

    def was_cut() -> bool:
        sizes.append(file.stat().st_size)
        return sum(later < earlier for earlier, later in itertools.pairwise(sizes)) >= 3

    await poll(was_cut, what="the log to be cut three times")
    await bench.until_pod(facts.uid, "Running")
    assert (await bench.log(job, facts.uid)).endswith(log_files.mark(50_000))
    await bench.close()
