"""The cache: its place, the name of a build, and that a build is complete or absent."""

import multiprocessing
import shutil
import stat
import time
from pathlib import Path

import pytest

from testbed import build, cache


def go_sources(folder: Path) -> Path:
    shutil.copytree(build.GO_DIR, folder)
    return folder


@pytest.fixture
def fake_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `go` that records its arguments and writes the output file; it fails while a file named `fail` exists."""
    folder = tmp_path / "fake-go"
    folder.mkdir()
    program = folder / "go"
    program.write_text(
        "#!/bin/sh\n"
        f'echo "$@" >> {folder}/calls\n'
        f"if [ -e {folder}/fail ]; then echo 'cannot find module'; exit 1; fi\n"
        'while [ "$1" != -o ]; do shift; done\n'
        'echo program > "$2"\n'
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return folder


def test_cache_dir_prefers_our_variable_then_xdg_then_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KJR_CACHE_DIR", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache.cache_dir() == tmp_path / ".cache" / "kube-job-runner"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache.cache_dir() == tmp_path / "xdg" / "kube-job-runner"
    monkeypatch.setenv("KJR_CACHE_DIR", str(tmp_path / "own"))
    assert cache.cache_dir() == tmp_path / "own"


def test_key_is_the_same_for_the_same_sources_elsewhere(tmp_path: Path) -> None:
    assert build.cache_key(go_sources(tmp_path / "copy")) == build.cache_key()


@pytest.mark.parametrize("name", ["go.mod", "go.sum", "cmd/k8s/main.go", "cmd/floor/run.go"])
def test_key_changes_with_every_source(name: str, tmp_path: Path) -> None:
    copy = go_sources(tmp_path / "copy")
    with (copy / name).open("a") as file:
        file.write("\n")
    assert build.cache_key(copy) != build.cache_key()


def test_key_changes_with_the_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    before = build.cache_key()
    monkeypatch.setattr(build, "_FLAGS", (*build._FLAGS, "-race"))
    assert build.cache_key() != before


def test_missing_go_is_said_in_one_sentence(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(empty_cache))
    with pytest.raises(build.GoMissing, match=r"^Go is not installed, the test bed cannot be built\.$"):
        build.ensure_built()


def test_a_finished_build_needs_no_go(empty_cache: Path, fake_go: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    bin_dir = build.ensure_built(lines.append)
    assert (bin_dir / "kube-apiserver").read_text() == "program\n"
    assert {path.name for path in bin_dir.iterdir()} == {"k8s", "kwok", "floor", "helper", *build.APPLETS}
    assert "built in" in lines[-1]
    monkeypatch.setenv("PATH", str(empty_cache))
    start = time.monotonic()
    assert build.ensure_built() == bin_dir
    assert time.monotonic() - start < 0.5


def test_a_failed_build_leaves_nothing_and_shows_the_compilers_words(empty_cache: Path, fake_go: Path) -> None:
    (fake_go / "fail").touch()
    with pytest.raises(build.BuildError, match="cannot find module"):
        build.ensure_built(lambda line: None)
    assert not build.is_built()
    assert [path.name for path in cache.builds_dir().iterdir()] == [f"{build.cache_key()}.lock"]
    (fake_go / "fail").unlink()
    build.ensure_built(lambda line: None)
    assert build.is_built()


def test_a_killed_builds_leftover_is_removed_by_the_next(empty_cache: Path, fake_go: Path) -> None:
    leftover = cache.builds_dir() / f".{build.cache_key()}-abc"
    (leftover / "bin").mkdir(parents=True)
    build.ensure_built(lambda line: None)
    assert not leftover.exists()


def test_the_second_builder_waits_and_does_not_build_again(empty_cache: Path, fake_go: Path) -> None:
    context = multiprocessing.get_context("spawn")
    lock = cache.builds_dir() / f"{build.cache_key()}.lock"
    waiting = context.Event()
    with cache.file_lock(lock):
        second = context.Process(target=_build_and_tell, args=(waiting,))
        second.start()
        assert waiting.wait(30), "the second builder never said that it waits"
        (cache.builds_dir() / build.cache_key()).mkdir()  # the first is done
    second.join(30)
    assert second.exitcode == 0
    assert not (fake_go / "calls").exists()


def _build_and_tell(waiting: "multiprocessing.synchronize.Event") -> None:
    build.ensure_built(lambda line: waiting.set())


def test_other_builds_can_be_removed(empty_cache: Path, fake_go: Path) -> None:
    build.ensure_built(lambda line: None)
    old = cache.builds_dir() / "0123456789abcdef0123"
    old.mkdir()
    assert build.remove_other_builds() == [old]
    assert build.is_built()
    assert not old.exists()
