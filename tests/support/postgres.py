"""Real PostgreSQL for tests: one embedded server per test session (or xdist worker), a fresh database per test."""

from __future__ import annotations

import asyncio
import concurrent.futures
import itertools
import shutil
import tempfile
import urllib.parse
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import asyncpg
import pytest

from kube_job_runner.adapters.postgres import embedded
from kube_job_runner.adapters.postgres.schema import migrate

TEMPLATE = "kjr_template"
T = TypeVar("T")
_numbers = itertools.count(1)


def in_other_loop(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end in a loop of another thread, so that it is safe from any fixture."""
    with concurrent.futures.ThreadPoolExecutor(max_workers=1) as executor:
        return executor.submit(asyncio.run, coroutine).result()


def with_database(url: str, name: str) -> str:
    """Return the URL of another database of the same server."""
    parts = urllib.parse.urlsplit(url)
    return urllib.parse.urlunsplit(parts._replace(path=f"/{name}"))


async def execute(url: str, *statements: str) -> None:
    """Run statements, each in a transaction of its own."""
    connection = await asyncpg.connect(url)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


async def fetch(url: str, statement: str, *arguments: Any) -> list[asyncpg.Record]:
    """Run one query on a connection of its own."""
    connection = await asyncpg.connect(url)
    try:
        return list(await connection.fetch(statement, *arguments))
    finally:
        await connection.close()


class Server:
    """The server of a test session: makes databases."""

    def __init__(self, url: str, pid: int) -> None:
        self.url = url
        self.pid = pid

    def create_database(self, *, template: str = TEMPLATE) -> str:
        """Make a database (migrated already, unless another template is named) and return its URL."""
        name = f"test_{next(_numbers)}"
        in_other_loop(execute(self.url, f"CREATE DATABASE {name} TEMPLATE {template}"))
        return with_database(self.url, name)

    def drop_database(self, url: str) -> None:
        """Remove a database, whoever is still connected to it."""
        name = urllib.parse.urlsplit(url).path.lstrip("/")
        in_other_loop(execute(self.url, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))


@pytest.fixture(scope="session")
def pg_server() -> Iterator[Server]:
    """A real PostgreSQL, started when the first test needs it and stopped with the session."""
    folder = Path(tempfile.mkdtemp(prefix="kjr-test-"))
    server = embedded.start(folder)
    try:
        in_other_loop(execute(server.url, f"CREATE DATABASE {TEMPLATE}"))
        in_other_loop(migrate(with_database(server.url, TEMPLATE)))
        yield Server(server.url, server.pid)
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def database_url(pg_server: Server) -> Iterator[str]:
    """The URL of a fresh, migrated database."""
    url = pg_server.create_database()
    yield url
    pg_server.drop_database(url)


@pytest.fixture
def empty_database_url(pg_server: Server) -> Iterator[str]:
    """The URL of a fresh database without any schema."""
    url = pg_server.create_database(template="template1")
    yield url
    pg_server.drop_database(url)
