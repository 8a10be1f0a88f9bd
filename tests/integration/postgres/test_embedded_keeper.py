"""The embedded PostgreSQL ends while we run: it is started again on the same socket, or the process says why it must end."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from kube_job_runner.adapters.postgres import embedded
from kube_job_runner.adapters.postgres.embedded import keeper as keeper_module
from kube_job_runner.adapters.postgres.embedded.keeper import Keeper, KeptHealth
from kube_job_runner.domain.errors import Unrecoverable
from kube_job_runner.ports import QueueDepth
from tests.support.postgres import execute, fetch

pytestmark = pytest.mark.asyncio


@pytest.fixture
def server() -> Iterator[embedded.EmbeddedServer]:
    """A running server in a folder of its own."""
    folder = Path(tempfile.mkdtemp(prefix="kjr-kept-", dir="/tmp"))
    folder.chmod(0o755)
    running = embedded.start(folder / "data")
    try:
        yield running
    finally:
        running.stop()
        shutil.rmtree(folder, ignore_errors=True)


@asynccontextmanager
async def kept(server: embedded.EmbeddedServer) -> AsyncIterator[Keeper]:
    """Keep the server running in the background."""
    keeper = Keeper(server)
    keeping = asyncio.create_task(keeper.run())
    try:
        yield keeper
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)


async def until(fact: Callable[[], bool], *, timeout_seconds: float = 20.0) -> None:
    """Wait for a fact of another process, which tells nobody."""
    async with asyncio.timeout(timeout_seconds):
        while not fact():  # noqa: ASYNC110 - see above
            await asyncio.sleep(0.01)


async def give_up(server: embedded.EmbeddedServer) -> tuple[str, list[float]]:
    """Return why the keeper gives up, and how long it would have paused."""
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        await asyncio.sleep(min(seconds, 0.02))

    async with asyncio.timeout(30):
        with pytest.raises(Unrecoverable) as caught:
            await Keeper(server, sleep=sleep).run()
    return str(caught.value), pauses


async def test_a_killed_server_is_started_again_on_its_socket_with_its_data(server: embedded.EmbeddedServer) -> None:
    await execute(server.url, "CREATE TABLE kept (n int)", "INSERT INTO kept VALUES (1)")
    url, first = server.url, server.pid
    async with kept(server) as keeper:
        assert keeper.problem() is None
        os.kill(first, signal.SIGKILL)
        await until(lambda: keeper.problem() is not None, timeout_seconds=1.0)
        await until(lambda: keeper.problem() is None)
    assert server.pid != first
    assert server.url == url
    assert [row["n"] for row in await fetch(url, "SELECT n FROM kept")] == [1]


async def test_a_pid_file_that_names_another_process_by_now_stops_no_restart(server: embedded.EmbeddedServer) -> None:
    stranger = subprocess.Popen(["sleep", "600"])  # noqa: ASYNC220 - it returns at once
    try:
        pid_file = server.data / "postmaster.pid"
        os.kill(server.pid, signal.SIGKILL)
        await until(lambda: not server.running)
        pid_file.write_text("\n".join([str(stranger.pid), *pid_file.read_text().split("\n")[1:]]))
        async with kept(server) as keeper:
            await until(lambda: server.ready and keeper.problem() is None)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


async def test_what_lies_in_the_place_of_the_socket_stops_no_restart(server: embedded.EmbeddedServer) -> None:
    os.kill(server.pid, signal.SIGKILL)
    await until(lambda: not server.running)
    server.socket.unlink(missing_ok=True)
    server.socket.write_text("")
    server.socket.with_name(server.socket.name + ".lock").write_text(f"{os.getpid()}\n")
    async with kept(server) as keeper:
        await until(lambda: server.ready and keeper.problem() is None)
    assert (await fetch(server.url, "SELECT 1"))[0][0] == 1


async def test_a_server_that_does_not_stay_up_ends_us_with_its_last_words(server: embedded.EmbeddedServer) -> None:
    with (server.data / "postgresql.conf").open("a") as file:
        file.write("\nno_such_setting = 1\n")
    os.kill(server.pid, signal.SIGKILL)
    said, pauses = await give_up(server)
    assert f"after {keeper_module.TRIES} new starts" in said
    assert "no_such_setting" in said
    long = [seconds for seconds in pauses if seconds not in (keeper_module.LOOK_SECONDS, keeper_module.KNOCK_SECONDS)]
    assert long[0] == 0.0, "the first end is mended at once"
    assert len(long) == keeper_module.TRIES
    assert sum(long) < 30


async def test_ends_that_lie_far_apart_are_always_mended(server: embedded.EmbeddedServer) -> None:
    now = 0.0
    keeper = Keeper(server, monotonic=lambda: now)
    keeping = asyncio.create_task(keeper.run())
    for _ in range(keeper_module.TRIES + 2):
        first = server.pid
        os.kill(first, signal.SIGKILL)
        await until(lambda first=first: server.pid != first and server.ready)  # type: ignore[misc]
        now += keeper_module.WINDOW_SECONDS
    assert not keeping.done()
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)


async def test_removed_data_end_us_and_are_not_made_anew(server: embedded.EmbeddedServer) -> None:
    shutil.rmtree(server.data, ignore_errors=True)
    said, _ = await give_up(server)
    assert said == f"the data of the embedded PostgreSQL were removed: {server.data}"
    assert not server.has_data


async def test_removed_data_of_a_killed_server_are_not_made_anew_either(server: embedded.EmbeddedServer) -> None:
    os.kill(server.pid, signal.SIGKILL)
    await until(lambda: not server.running)
    shutil.rmtree(server.data, ignore_errors=True)
    assert "were removed" in (await give_up(server))[0]
    assert not server.has_data


async def test_a_directory_that_cannot_be_written_counts_as_an_end(
    server: embedded.EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full() -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(server, "clear", full)
    os.kill(server.pid, signal.SIGKILL)
    assert "does not stay up" in (await give_up(server))[0]


async def test_a_server_that_is_stopped_takes_no_connection_and_that_is_told(
    server: embedded.EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper_module, "KNOCK_SECONDS", 0.05)
    monkeypatch.setattr(keeper_module, "ANSWER_SECONDS", 0.2)
    async with kept(server) as keeper:
        await asyncio.sleep(0.2)
        assert keeper.problem() is None
        os.kill(server.pid, signal.SIGSTOP)
        await until(lambda: keeper.problem() == "the embedded PostgreSQL takes no connection")
        os.kill(server.pid, signal.SIGCONT)
        await until(lambda: keeper.problem() is None)


class _Health:
    async def check(self) -> dict[str, str | None]:
        return {"database": None, "schema": None}

    async def depth(self) -> QueueDepth:
        raise NotImplementedError


async def test_readiness_says_at_once_that_the_server_has_ended(server: embedded.EmbeddedServer) -> None:
    health = KeptHealth(_Health(), Keeper(server))
    assert await health.check() == {"database": None, "schema": None}
    os.kill(server.pid, signal.SIGKILL)
    await until(lambda: not server.running)
    assert (await health.check())["database"] == "the embedded PostgreSQL has ended and is started again"
