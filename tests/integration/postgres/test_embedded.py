"""The embedded PostgreSQL: it keeps its data however we end, and has one owner at a time."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from kube_job_runner.adapters.postgres import embedded
from kube_job_runner.adapters.postgres.embedded import binaries, data_directory, launcher, server_process
from kube_job_runner.domain.errors import ConfigurationError
from tests.support.postgres import execute, fetch, in_other_loop

OWNER = """
import sys, time
from pathlib import Path
from kube_job_runner.adapters.postgres import embedded
server = embedded.start(Path(sys.argv[1]))
print(server.pid, flush=True)
time.sleep(600)
"""


def wait_until(check: Callable[[], bool], *, what: str, timeout_seconds: float = 20.0) -> None:
    """Wait for a fact of another process."""
    deadline = time.monotonic() + timeout_seconds
    while not check():
        assert time.monotonic() < deadline, f"not within {timeout_seconds} s: {what}"
        time.sleep(0.01)


def alive(pid: int) -> bool:
    """Whether a process lives; one that ended and is not yet waited for does not."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True).stdout.strip()
    return bool(state) and not state.startswith("Z")


def query(url: str, statement: str) -> list[Any]:
    """Return the rows of one query."""
    return in_other_loop(fetch(url, statement))


class Owner:
    """Another process of ours that runs the embedded server."""

    def __init__(self, data_dir: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", OWNER, str(data_dir)], stdout=subprocess.PIPE, text=True, cwd=Path.cwd()
        )
        assert self.process.stdout is not None
        self.server_pid = int(self.process.stdout.readline())

    def kill(self) -> None:
        """Kill it as `kill -9` does: nothing of it runs any more."""
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """A data directory with a short path that any user may reach."""
    folder = Path(tempfile.mkdtemp(prefix="kjr-embedded-", dir="/tmp"))
    folder.chmod(0o755)
    yield folder / "data"
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory made once, with a table of one row, to be copied by tests that do not look at the first start."""
    folder = Path(tempfile.mkdtemp(prefix="kjr-made-", dir=tmp_path_factory.getbasetemp()))
    server = embedded.start(folder)
    in_other_loop(execute(server.url, "CREATE TABLE kept (n int)", "INSERT INTO kept VALUES (1)"))
    server.stop()
    return folder


@pytest.fixture
def used(made: Path, data_dir: Path) -> Path:
    """A copy of that directory."""
    shutil.copytree(made, data_dir)
    data_dir.chmod(0o755)
    return data_dir


def kept(url: str) -> list[int]:
    """Return the rows of the table that must survive."""
    return [row["n"] for row in query(url, "SELECT n FROM kept ORDER BY n")]


def test_the_first_start_makes_a_durable_private_database(data_dir: Path) -> None:
    server = embedded.start(data_dir)
    try:
        names = ("fsync", "full_page_writes", "synchronous_commit", "listen_addresses", "data_checksums")
        shown = {name: query(server.url, f"SHOW {name}")[0][0] for name in names}
        assert shown == {
            "fsync": "on", "full_page_writes": "on", "synchronous_commit": "on", "listen_addresses": "",
            "data_checksums": "on",
        }  # fmt: skip
        assert query(server.url, "SELECT 'b' > 'B' AND 'ä' > 'z'")[0][0]  # text sorts by code point, on any machine
        socket_folder = Path(query(server.url, "SHOW unix_socket_directories")[0][0])
        assert socket_folder.stat().st_mode & 0o777 == 0o700
        assert (data_dir / "postgres").stat().st_mode & 0o777 == 0o700
        assert "ready to accept connections" in (data_dir / "postgres" / "server.log").read_text()
        assert embedded.running_url(data_dir) == server.url
    finally:
        server.stop()
    assert not server.running
    assert embedded.running_url(data_dir) is None


def test_a_restart_keeps_the_data(used: Path) -> None:
    for number in (2, 3):
        server = embedded.start(used)
        in_other_loop(execute(server.url, f"INSERT INTO kept VALUES ({number})"))
        server.stop()
        server.stop()
    server = embedded.start(used)
    assert kept(server.url) == [1, 2, 3]
    server.stop()


def test_a_second_owner_gets_a_clear_error(used: Path) -> None:
    owner = Owner(used)
    try:
        with pytest.raises(ConfigurationError) as refused:
            embedded.start(used)
        assert str(used) in str(refused.value)
        assert str(owner.process.pid) in str(refused.value)
        assert "KJR_DATA_DIR" in str(refused.value)
        url = embedded.running_url(used)
        assert url is not None
        assert kept(url) == [1]
    finally:
        owner.kill()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells a child of its parent's death")
def test_a_killed_owner_takes_its_server_along_and_loses_no_row(used: Path) -> None:
    owner = Owner(used)
    url = embedded.running_url(used)
    assert url is not None
    in_other_loop(execute(url, "INSERT INTO kept VALUES (2)"))
    owner.kill()
    wait_until(lambda: not alive(owner.server_pid), what="the server of a killed process stops")
    server = embedded.start(used)
    assert kept(server.url) == [1, 2]
    server.stop()


def test_a_start_right_after_a_kill_waits_for_the_old_server(used: Path) -> None:
    owner = Owner(used)
    url = embedded.running_url(used)
    assert url is not None
    in_other_loop(execute(url, "INSERT INTO kept SELECT generate_series(2, 5000)"))
    owner.kill()
    server = embedded.start(used)
    assert len(kept(server.url)) == 5000
    server.stop()


def test_an_orphaned_server_is_stopped(used: Path) -> None:
    """As on a system that cannot tell a child of its parent's death: the server runs on, its owner is gone."""
    first = embedded.start(used)
    first._layout.unlock()  # all that is left of a killed owner's lock
    second = embedded.start(used)
    assert not alive(first.pid) or not first.running
    assert kept(second.url) == [1]
    second.stop()
    first.stop()


def test_a_killed_server_recovers(used: Path) -> None:
    server = embedded.start(used)
    in_other_loop(execute(server.url, "INSERT INTO kept VALUES (2)"))
    os.kill(server.pid, signal.SIGKILL)
    server.stop()
    server = embedded.start(used)
    assert kept(server.url) == [1, 2]
    server.stop()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds the server's processes in /proc")
def test_a_killed_server_whose_backends_linger_is_followed_when_they_have_ended(used: Path) -> None:
    server = embedded.start(used)
    backends = [int(pid) for pid in Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()]
    os.kill(backends[0], signal.SIGSTOP)  # it holds the shared memory, and cannot notice that its server is gone
    os.kill(server.pid, signal.SIGKILL)
    server.stop()
    waking = threading.Timer(1.0, os.kill, (backends[0], signal.SIGCONT))
    waking.start()
    server = embedded.start(used)
    waking.join()
    assert "pre-existing shared memory block" in (used / "postgres" / "server.log").read_text()
    assert kept(server.url) == [1]
    server.stop()


def test_a_pid_that_is_another_process_now_does_not_stop_a_start(used: Path) -> None:
    """In a container every start gives out the same few pids again."""
    server = embedded.start(used)
    pid_file = used / "postgres" / "data" / "postmaster.pid"
    lines = pid_file.read_text().split("\n")
    os.kill(server.pid, signal.SIGKILL)
    server.stop()
    stranger = subprocess.Popen(["sleep", "600"])
    try:
        pid_file.write_text("\n".join([str(stranger.pid), *lines[1:]]))
        server = embedded.start(used)
        assert kept(server.url) == [1]
        server.stop()
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_half_made_database_is_made_anew(data_dir: Path) -> None:
    half = data_dir / "postgres" / "data.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18")
    server = embedded.start(data_dir)
    assert query(server.url, "SELECT 1")[0][0] == 1
    server.stop()
    assert not half.exists()


def test_a_path_too_long_for_a_socket_gets_a_short_folder(made: Path, data_dir: Path) -> None:
    deep = data_dir / ("x" * 60) / ("y" * 60)
    shutil.copytree(made, deep)
    server = embedded.start(deep)
    recorded = Path((deep / "postgres" / "socket-folder").read_text())
    assert recorded.stat().st_mode & 0o777 == 0o700
    assert kept(server.url) == [1]
    server.stop()
    server = embedded.start(deep)
    assert not recorded.exists()
    assert kept(server.url) == [1]
    second = Path((deep / "postgres" / "socket-folder").read_text())
    server.stop()
    shutil.rmtree(second, ignore_errors=True)


def test_variables_of_the_user_do_not_reach_the_server(used: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGDATA", "/nowhere")
    monkeypatch.setenv("PGPORT", "1")
    monkeypatch.setenv("LC_ALL", "xx_YY.nonsense")
    monkeypatch.setenv("RUNNER_SECRET", "must not leak")
    server = embedded.start(used)
    assert kept(server.url) == [1]
    if sys.platform.startswith("linux"):
        assert b"must not leak" not in Path(f"/proc/{server.pid}/environ").read_bytes(), "local jobs can read it"
    server.stop()


def test_a_server_that_refuses_to_start_says_why_and_frees_the_directory(used: Path) -> None:
    configuration = used / "postgres" / "data" / "postgresql.conf"
    whole = configuration.read_text()
    configuration.write_text(whole + "\nno_such_setting = 1\n")
    with pytest.raises(ConfigurationError, match="no_such_setting"):
        embedded.start(used)
    configuration.write_text(whole)
    server = embedded.start(used)
    server.stop()


def test_data_of_another_major_version_is_refused(used: Path) -> None:
    (used / "postgres" / "data" / "PG_VERSION").write_text("11\n")
    with pytest.raises(ConfigurationError, match="PostgreSQL 11"):
        embedded.start(used)


def test_a_directory_that_cannot_be_used_is_a_wrong_setting(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(ConfigurationError, match="data directory"):
        embedded.start(file)


def test_only_the_main_thread_may_start_it(data_dir: Path) -> None:
    with pytest.raises(RuntimeError, match="main thread"):
        asyncio.run(asyncio.to_thread(embedded.start, data_dir))
    asyncio.set_event_loop(None)


def test_a_large_log_is_put_aside(tmp_path: Path) -> None:
    layout = data_directory.Layout(tmp_path)
    layout.home.mkdir()
    layout.rotate_log(10)
    layout.log.write_text("x" * 11)
    layout.rotate_log(10)
    assert not layout.log.exists()
    assert (layout.home / "server.log.1").exists()
    assert layout.log_tail() == "no log"


def test_binaries_are_found_by_version() -> None:
    found = binaries.find()
    assert found.major >= binaries.OLDEST_MAJOR
    assert binaries.find(major=found.major).folder == found.folder
    with pytest.raises(ConfigurationError, match="no PostgreSQL 9 to run here"):
        binaries.find(major=9)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, whom PostgreSQL refuses")
class TestAsRoot:
    """Root may use it all the same, and everything else stays as it was."""

    def test_files_stay_roots_and_no_user_is_made(self, data_dir: Path) -> None:
        users = len(pwd.getpwall())
        server = embedded.start(data_dir, identity="namespace")
        assert (data_dir / "postgres" / "data" / "PG_VERSION").stat().st_uid == 0
        assert data_dir.stat().st_mode & 0o777 == 0o755
        server.stop()
        assert len(pwd.getpwall()) == users

    def test_where_no_namespace_can_be_made_it_runs_as_nobody(self, used: Path) -> None:
        server = embedded.start(used, identity="setuid")
        status = Path(f"/proc/{server.pid}/status").read_text()
        assert "Uid:\t65534\t65534" in status
        in_other_loop(execute(server.url, "INSERT INTO kept VALUES (2)"))
        server.stop()
        server = embedded.start(used, identity="namespace")
        assert kept(server.url) == [1, 2]
        assert (used / "postgres" / "data" / "PG_VERSION").stat().st_uid == 0
        server.stop()

    def test_it_finds_out_by_itself(self, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        command = server_process._command

        def forbidding(identity: str, program: Path, *arguments: str) -> list[str]:
            if identity == "namespace":
                return [sys.executable, "-c", f"raise SystemExit({launcher.NO_NAMESPACE})"]
            return command(identity, program, *arguments)

        monkeypatch.setattr(server_process, "_command", forbidding)
        for _ in range(2):  # the first makes the data, the second finds them
            server = embedded.start(data_dir)
            assert "Uid:\t65534" in Path(f"/proc/{server.pid}/status").read_text()
            server.stop()

    def test_a_folder_that_nobody_cannot_reach_is_explained(self, data_dir: Path) -> None:
        data_dir.mkdir(mode=0o700)
        with pytest.raises(ConfigurationError, match="nobody"):
            embedded.start(data_dir, identity="setuid")

    def test_and_so_it_is_when_the_data_are_there_already(self, used: Path) -> None:
        used.chmod(0o700)
        with pytest.raises(ConfigurationError, match="nobody"):
            embedded.start(used, identity="setuid")


@pytest.mark.asyncio
async def test_an_uncommitted_row_is_gone_and_a_committed_one_is_not(used: Path) -> None:
    owner = Owner(used)
    url = embedded.running_url(used)
    assert url is not None
    connection = await asyncpg.connect(url)
    await connection.execute("INSERT INTO kept VALUES (2)")
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute("INSERT INTO kept VALUES (3)")
    os.kill(owner.server_pid, signal.SIGKILL)
    owner.kill()
    connection.terminate()
    server = embedded.start(used)
    assert [row["n"] for row in await fetch(server.url, "SELECT n FROM kept ORDER BY n")] == [1, 2]
    server.stop()
