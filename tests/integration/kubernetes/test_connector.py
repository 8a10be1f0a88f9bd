"""How connections to an API server are made: every address in its turn, within a time, and no descriptor that two own."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
import uvloop

from kube_job_runner.adapters.kubernetes import connector
from kube_job_runner.adapters.kubernetes.client import Client
from kube_job_runner.adapters.kubernetes.credentials import ConfiguredSource
from kube_job_runner.adapters.kubernetes.rest_config import ConnectionConfig, Pem, UserConfig
from kube_job_runner.domain.errors import TemporaryError
from tests.support.certificates import Authority
from tests.support.fake_apiserver import FakeApiServer

Loop = Callable[[], asyncio.AbstractEventLoop]


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def loop(request: pytest.FixtureRequest) -> Loop:
    """Makes event loops: each test runs on ours and on Python's own."""
    found: Loop = request.param
    return found


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.make(tmp_path_factory.mktemp("ca"))


def client(url: str, *, trust: Authority | None = None, proxy_url: str | None = None) -> Client:
    pem = Pem(file=trust.certificate) if trust is not None else None
    user = UserConfig(token="t")
    config = ConnectionConfig(server=url, user=user, origin="test", proxy_url=proxy_url, certificate_authority=pem)
    source = ConfiguredSource(config.user, monotonic=time.monotonic)
    return Client(config, source, concurrency=200, monotonic=time.monotonic)


async def ask(of: Client) -> int:
    return (await of.request("GET", "/api/v1/namespaces/default/pods/x", action="asking")).status


def run(loop: Loop, test: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(test)


def names(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """Let any name have these addresses."""

    async def found(host: str, port: int) -> list[str]:
        return list(addresses)

    monkeypatch.setattr(connector, "_addresses", found)


@contextlib.contextmanager
def silent(address: str, port: int = 0) -> Iterator[int]:
    """A port that takes no connection and refuses none: its backlog is full."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.socket())
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((address, port))
        server.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(server.getsockname())
        yield server.getsockname()[1]


@pytest.mark.parametrize("first", ["refuses", "is silent"])
def test_the_next_address_is_tried(loop: Loop, first: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connector, "CONNECT_SECONDS", 1.0)

    async def test() -> None:
        async with FakeApiServer() as server:
            port = int(server.url.rpartition(":")[2])
            names(monkeypatch, "127.0.0.2", "127.0.0.1")
            before = silent("127.0.0.2", port) if first == "is silent" else contextlib.nullcontext()
            with before:
                made = client(f"http://api.example:{port}")
                assert await ask(made) == 404
                await made.close()

    run(loop, test())


def test_a_server_that_takes_no_connection_is_told_by_name_within_the_time(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connector, "CONNECT_SECONDS", 0.2)

    async def test(port: int) -> None:
        made = client(f"http://127.0.0.1:{port}")
        async with asyncio.timeout(5):
            with pytest.raises(TemporaryError, match=rf"[Tt]imeout.*127\.0\.0\.1:{port}"):
                await ask(made)
        await made.close()

    with silent("127.0.0.1") as port:
        run(loop, test(port))


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
def test_connections_are_kept_alive_by_tcp_used_again_and_cut_at_the_end(
    loop: Loop, secure: bool, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    transports: list[asyncio.Transport] = []
    add = connector.OpenConnections.add

    def noted(self: connector.OpenConnections, transport: asyncio.Transport, protocol: Any) -> None:
        transports.append(transport)
        add(self, transport, protocol)

    monkeypatch.setattr(connector.OpenConnections, "add", noted)

    async def test() -> None:
        async with FakeApiServer(ssl_context=authority.server_context() if secure else None) as server:
            made = client(server.url, trust=authority)
            for _ in range(3):
                await ask(made)
            (transport,) = transports
            kept = transport.get_extra_info("socket")
            assert kept.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            assert kept.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 30
            await made.close()
            assert transport.is_closing()
            assert made._connections._transports == set()

    run(loop, test())


def test_hundreds_of_connects_that_are_given_up_leave_no_descriptor_in_doubt(
    loop: Loop, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connector, "CONNECT_SECONDS", 0.02)

    async def test(port: int) -> None:
        async with FakeApiServer(ssl_context=authority.server_context()) as server:
            away, here = (client(url, trust=authority) for url in (f"https://127.0.0.1:{port}", server.url))

            async def keep_asking() -> None:
                for _ in range(10):
                    with contextlib.suppress(TemporaryError):
                        await ask(away)

            asking = [*(keep_asking() for _ in range(50)), *(ask(here) for _ in range(50))]
            await asyncio.gather(*asking, return_exceptions=True)
            monkeypatch.setattr(connector, "CONNECT_SECONDS", 5.0)
            assert await asyncio.gather(*(ask(here) for _ in range(50))) == [404] * 50
            await away.close()
            await here.close()

    with silent("127.0.0.1") as port:
        run(loop, test(port))


@pytest.mark.asyncio
async def test_through_a_proxy_a_descriptor_that_uvloop_still_knows_is_no_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    """There aiohttp makes the socket; uvloop refuses the number of one that was given up a moment ago."""

    async def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("File descriptor 18 is used by transport <TCPTransport closed=False>")

    monkeypatch.setattr("aiohttp.connector.aiohappyeyeballs.start_connection", refuse)
    made = client("http://127.0.0.1:1", proxy_url="http://127.0.0.1:2")
    try:
        with pytest.raises(TemporaryError, match="no answer: RuntimeError"):
            await ask(made)
    finally:
        await made.close()
