"""Processes that leave the group, the session and the environment of their local job die with it all the same."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from tests.support.clusters import poll
from tests.unit.adapters.local.conftest import Bench, shell
from tests.unit.adapters.local.test_stopping import runs

pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux has subreapers"),
]

WALKER = "import os\nwhile os.fork() == 0 or os._exit(0): os.setsid()"
"""A process that starts another and ends, again and again: its number changes faster than anybody looks."""

ESCAPES = {
    "own session, no variables": "env -i setsid sleep $M &",
    "daemon by two forks": 'env -i setsid sh -c "env -i setsid sleep $M & exit 0" &',
    "a session for each generation": 'env -i setsid sh -c "setsid sh -c \\"setsid sleep $M & sleep $M\\" & sleep $M" &',
    "deaf": "env -i setsid sh -c \"trap '' TERM HUP INT QUIT; sleep $M; sleep $M\" &",
    "storm": 'env -i setsid sh -c "while :; do setsid sleep $M & sleep 0.01; done" &',
    "many": "for n in 1 2 3 4 5 6 7 8 9 10 11 12; do env -i setsid sleep $M & done",
    "walker": f'env -i setsid {sys.executable} -S -c "{WALKER}" $M &',
    "stopped": 'env -i setsid sh -c "kill -STOP \\$\\$ # $M" &',
}
"""Ways to leave a job; each process has the word `$M` among its arguments."""


def marked(word: str) -> list[int]:
    """Return the processes with this word among their arguments, which are no zombies and are not the job's own shell."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if word.encode() in (folder / "cmdline").read_bytes() and runs(int(folder.name)):
                found.append(int(folder.name))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def new_word() -> str:
    """Return a number of seconds that no other process sleeps."""
    return f"9{time.monotonic_ns()}"


@pytest.mark.parametrize("ends", ["by itself", "by a cancel"])
@pytest.mark.parametrize("escape", ESCAPES.values(), ids=ESCAPES.keys())
async def test_what_left_a_job_is_gone_when_its_end_is_told(bench: Bench, escape: str, ends: str) -> None:
    word, other, go = new_word(), new_word(), bench.folder / "go"
    _, beside = await bench.run(shell("env -i setsid sleep $M & exec sleep 300", env={"M": other}))
    script = f"{escape}\nwhile [ ! -e $GO ]; do sleep 0.02; done"
    job, facts = await bench.run(shell(script, env={"M": word, "GO": str(go)}, stop_grace_seconds=1))
    await poll(lambda: marked(word) and marked(other), what="the processes that leave")
    if ends == "by itself":
        go.touch()
        assert (await bench.main(facts.uid)).exit_code == 0
    else:
        await bench.delete(job, facts.uid)
        await bench.until_gone(facts.uid)
    assert marked(word) == []
    assert marked(other), "another job keeps its own"
    assert (await bench.until_pod(beside.uid, "Running")).phase == "Running"


async def test_a_job_that_kills_its_guard_ends_with_all_it_started(bench: Bench) -> None:
    word, other = new_word(), new_word()
    _, beside = await bench.run(shell("env -i setsid sleep $M & exec sleep 300", env={"M": other}))
    script = "env -i setsid sleep $M & env -i setsid sleep $M & sleep 0.2; kill -9 $PPID; exec sleep 300"
    _, facts = await bench.run(shell(script, env={"M": word}))
    main = await bench.main(facts.uid)
    assert (main.exit_code, main.signal) == (137, signal.SIGKILL)
    assert marked(word) == []
    assert marked(other), "another job keeps its own"
    assert (await bench.until_pod(beside.uid, "Running")).phase == "Running"


async def test_a_job_that_stops_its_guard_is_killed_all_the_same(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "kube_job_runner.adapters.local.processes._SHIM",
        "import sys; sys.path.append(sys.argv[1]); from kube_job_runner.adapters.local_shim import shim;"
        " shim._GUARD_SECONDS = 0.5; shim.main()",
    )
    word = new_word()
    script = "env -i setsid sleep $M & sleep 0.2; kill -STOP $PPID; exec sleep 300"
    job, facts = await bench.run(shell(script, env={"M": word}, stop_grace_seconds=0))
    await poll(lambda: marked(word), what="the process that leaves")
    await asyncio.sleep(0.4)
    await bench.delete(job, facts.uid)
    await bench.until_gone(facts.uid)
    assert marked(word) == []


@pytest.mark.parametrize("killed", ["the shim", "the runner's end of the socket"])
async def test_what_left_a_job_dies_with_the_shim(bench: Bench, killed: str) -> None:
    word = new_word()
    await bench.run(shell("env -i setsid sleep $M & exec sleep 300", env={"M": word}))
    await poll(lambda: marked(word), what="the process that leaves")
    shim = bench.cluster.shim_pid
    assert shim is not None
    if killed == "the shim":
        os.kill(shim, signal.SIGKILL)
    else:
        await bench.cluster.close()
    await poll(lambda: not marked(word), what="what left the job to be killed")
