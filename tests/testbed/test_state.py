"""The record of a cluster: it is read back as written, private, and not taken for a live cluster when it is dead."""

import os
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed import cache, state
from testbed.processes import ProcessId


def record(name: str = "one") -> state.State:
    return state.State(
        name=name,
        bin_dir=Path("/bin"),
        profile="raised",
        audit=True,
        pod_logs=False,
        ports={"kube-apiserver": 12345},
        tokens={"admin": "secret"},
        starter=ProcessId.of(os.getpid()),
        leashed=True,
    )


@pytest.fixture
def dead_process() -> ProcessId:
    with subprocess.Popen(["sleep", "1000"]) as child:
        process = ProcessId.of(child.pid)
        child.kill()
    return process


@pytest.fixture
def live_process() -> Iterator[ProcessId]:
    with subprocess.Popen(["sleep", "1000"]) as child:
        yield ProcessId.of(child.pid)
        child.kill()


def test_it_is_read_back_as_it_was_written(empty_cache: Path, live_process: ProcessId) -> None:
    written = record()
    written.claim()
    written.processes["etcd"] = live_process
    written.save()
    assert state.load("one") == written
    assert list(state.load_all()) == [written]


def test_only_its_owner_can_read_the_tokens(empty_cache: Path) -> None:
    written = record()
    written.claim()
    assert stat.S_IMODE(written.run_dir.stat().st_mode) == 0o700
    assert stat.S_IMODE((written.run_dir / "state.json").stat().st_mode) == 0o600


def test_a_name_in_use_is_refused(empty_cache: Path, live_process: ProcessId) -> None:
    first = record()
    first.claim()
    with pytest.raises(FileExistsError, match="a cluster named one runs already"):
        record().claim()  # it is starting: its starter lives
    first.processes["etcd"] = live_process
    first.save()
    with pytest.raises(FileExistsError):
        record().claim()


def test_a_dead_clusters_name_and_files_are_taken_over(empty_cache: Path, dead_process: ProcessId) -> None:
    dead = record()
    dead.claim()
    dead.processes["etcd"] = dead_process
    dead.save()
    (dead.run_dir / "leftover").touch()
    record().claim()
    assert not (dead.run_dir / "leftover").exists()


@pytest.mark.parametrize("name", ["", "A", "../up", "a/b", "-a", "a" * 41])
def test_a_name_cannot_leave_the_folder(name: str, empty_cache: Path) -> None:
    with pytest.raises(ValueError, match="is no name for a cluster"):
        record(name)


def test_only_dead_clusters_of_that_age_are_removed(
    empty_cache: Path, dead_process: ProcessId, live_process: ProcessId
) -> None:
    for name, process in (("dead", dead_process), ("alive", live_process), ("old", dead_process)):
        written = record(name)
        written.claim()
        written.processes["etcd"] = process
        written.save()
    two_hours_ago = time.time() - 7200
    os.utime(cache.runs_dir() / "old", (two_hours_ago, two_hours_ago))
    record("starting").claim()
    assert state.remove_dead(older_than_seconds=3600) == ["old"]
    assert state.remove_dead() == ["dead"]
    assert [left.name for left in state.load_all()] == ["alive", "starting"]


def test_a_folder_that_is_no_cluster_is_passed_over(empty_cache: Path) -> None:
    for name, text in (("broken", "{"), ("foreign", "{}")):
        (cache.runs_dir() / name).mkdir(parents=True)
        (cache.runs_dir() / name / "state.json").write_text(text)
    assert list(state.load_all()) == []
