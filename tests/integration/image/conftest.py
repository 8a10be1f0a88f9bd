"""Fixtures: the content of the image in a folder, PostgreSQL over TCP, and an API server."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import urllib.parse
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from tests.support import dockerfile
from tests.support.bareimage import BareImage
from tests.support.fake_apiserver import FakeApiServer
from tests.support.postgres import Server


@pytest.fixture(scope="session")
def image() -> Iterator[BareImage]:
    """What `docker build` makes of the Dockerfile, in a folder without write bits."""
    read = dockerfile.read(dockerfile.ROOT / "Dockerfile")
    made = BareImage()
    try:
        made.build(read.stage("build"))
        made.environment = read.stages[-1].environment()
        yield made
    finally:
        made.remove()


class Surroundings(NamedTuple):
    """What is reached over the network: a PostgreSQL with an empty database, and a fake API server."""

    database_url: str
    cluster: FakeApiServer


@pytest.fixture
def surroundings(image: BareImage, pg_server: Server) -> Iterator[Surroundings]:
    """A database and a cluster for the programs of the image; `kubeconfig` in their files leads to the cluster."""
    url = pg_server.create_database(template="template1")
    with _running(_surroundings(url)) as made:
        _write_kubeconfig(image.files / "kubeconfig", made.cluster.url)
        yield made
    pg_server.drop_database(url)


@contextlib.asynccontextmanager
async def _surroundings(url: str) -> AsyncIterator[Surroundings]:
    """The test's PostgreSQL listens on a socket that only we may open: take its TCP connections there."""
    parts = urllib.parse.urlsplit(url)
    query = urllib.parse.parse_qs(parts.query)
    socket = f"{query['host'][0]}/.s.PGSQL.{query['port'][0]}"

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to_server = await asyncio.open_unix_connection(socket)
        await asyncio.gather(pump(reader, to_server[1]), pump(to_server[0], writer))

    async with FakeApiServer() as cluster, await asyncio.start_server(connected, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        yield Surroundings(f"postgresql://{parts.username}@127.0.0.1:{port}{parts.path}", cluster)


@contextlib.contextmanager
def _running(made: contextlib.AbstractAsyncContextManager[Surroundings]) -> Iterator[Surroundings]:
    """Keep an asynchronous context open in a loop of another thread: the test itself waits for processes."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        entered = asyncio.run_coroutine_threadsafe(made.__aenter__(), loop).result(timeout=30)
        yield entered
        asyncio.run_coroutine_threadsafe(made.__aexit__(None, None, None), loop).result(timeout=30)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout=30)
        loop.close()


def _write_kubeconfig(path: Path, url: str) -> None:
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [{"name": "test", "cluster": {"server": url}}],
        "users": [{"name": "test", "user": {"token": "t"}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
    }
    path.write_text(yaml.safe_dump(config))
