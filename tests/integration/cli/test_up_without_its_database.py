"""`kjr up` and the end of its PostgreSQL: it goes on with a new one, or ends with a message. It never stays up without one."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from kube_job_runner.client import connection
from tests.integration.cli.conftest import Server, wait_for


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server of this test alone."""
    running = Server(tmp_path)
    try:
        yield running
    finally:
        running.stop()


def _postmaster(server: Server) -> int:
    return int((server.data / "postgres" / "data" / "postmaster.pid").read_text().split("\n")[0])


def _answer(server: Server, path: str) -> tuple[int, str]:
    found = connection.read_file(server.data / connection.FILE_NAME)
    assert found is not None
    answer = httpx2.get(found.url + path, timeout=15)
    return answer.status_code, answer.text


def test_a_killed_database_is_started_again_and_jobs_go_on(server: Server) -> None:
    running = server.submit("sleep 3; echo done")
    os.kill(_postmaster(server), signal.SIGKILL)
    wait_for(lambda: "the embedded PostgreSQL is ready again" in server.log.read_text())
    wait_for(lambda: _answer(server, "/readyz")[0] == 200)
    later = server.submit("exit 3")
    wait_for(lambda: server.job(running).state == "succeeded" and server.job(later).state == "failed")
    assert server.stop() == 0


def test_a_database_that_cannot_be_kept_ends_the_process_with_its_words(server: Server) -> None:
    with (server.data / "postgres" / "data" / "postgresql.conf").open("a") as file:
        file.write("\nno_such_setting = 1\n")
    os.kill(_postmaster(server), signal.SIGKILL)
    assert server.process.wait(60) == 1
    last = server.log.read_text().rstrip("\n").rpartition("\n")[2]
    assert last.startswith("kjr: the embedded PostgreSQL does not stay up")
    assert "no_such_setting" in last


def test_removed_data_end_the_process(server: Server) -> None:
    shutil.rmtree(server.data / "postgres" / "data", ignore_errors=True)  # the server removes files at the same time
    assert server.process.wait(60) == 1
    last = server.log.read_text().rstrip("\n").rpartition("\n")[2]
    assert last.startswith("kjr: the data of the embedded PostgreSQL were removed")


def test_a_stopped_database_is_not_ready_and_we_are_alive(server: Server) -> None:
    postmaster = _postmaster(server)
    children = Path(f"/proc/{postmaster}/task/{postmaster}/children")
    if not children.exists():
        pytest.skip("finds the server's processes in /proc")
    stopped = [postmaster, *map(int, children.read_text().split())]
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    try:
        wait_for(lambda: _answer(server, "/readyz")[0] == 503)
        assert _answer(server, "/livez") == (200, "ok\n")
        assert "[-]database failed: the " in _answer(server, "/readyz?verbose")[1]
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
    wait_for(lambda: _answer(server, "/readyz")[0] == 200)
