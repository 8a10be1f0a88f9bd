"""Real PostgreSQL for tests: one embedded server per test session (or xdist worker), a fresh database per test."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import fcntl
import itertools
import os
import shutil
import tempfile
import time
import urllib.parse
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import asyncpg
import msgspec
import pytest
import pytest_asyncio

from kube_job_runner.adapters import postgres
from kube_job_runner.adapters.postgres import embedded, roles
from kube_job_runner.adapters.postgres.embedded import binaries
from kube_job_runner.adapters.postgres.grants import ROLES
from kube_job_runner.adapters.postgres.schema import migrate
from kube_job_runner.domain import names, states
from kube_job_runner.domain.job import Attempt, Job, Transition
from kube_job_runner.domain.spec.model import JobSpec
from kube_job_runner.domain.states import State
from kube_job_runner.ports import Change, Submission

TEMPLATE = "kjr_template"
_PREFIX = "kjr-test-"
_ALIVE = ".alive"
_ROOM_BYTES = 2 * 2**30
T = TypeVar("T")
_numbers = itertools.count(1)


def in_other_loop(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end in the event loop of another thread, so that any fixture may call it."""
    with concurrent.futures.ThreadPoolExecutor(max_workers=1) as executor:
        return executor.submit(asyncio.run, coroutine).result()


def with_database(url: str, name: str) -> str:
    """Return the URL of another database of the same server."""
    parts = urllib.parse.urlsplit(url)
    return urllib.parse.urlunsplit(parts._replace(path=f"/{name}"))


def with_user(url: str, user: str) -> str:
    """Return the URL of the same database for another user; the test server trusts everybody."""
    parts = urllib.parse.urlsplit(url)
    return urllib.parse.urlunsplit(parts._replace(netloc=f"{user}@{parts.netloc.rpartition('@')[2]}"))


async def component_urls(url: str) -> dict[str, str]:
    """Migrate a database, grant the roles of the components in it, and return a URL with its own user for each component."""
    await migrate(url)
    names = await roles.grant(url, prefix="kjr_")
    urls = {}
    for component, role in zip(ROLES, names, strict=True):
        user = f"test_{role}"
        make = f"IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{user}') THEN CREATE ROLE {user} LOGIN IN ROLE {role};"
        with contextlib.suppress(asyncpg.DuplicateObjectError, asyncpg.UniqueViolationError):  # users are the server's
            await execute(url, f"DO $$ BEGIN {make} END IF; END $$")
        urls[component] = with_user(url, user)
    return urls


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
        # Copying the files costs a quarter of the CPU of PostgreSQL's default, which writes each page to the log as well.
        in_other_loop(execute(self.url, f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY"))
        return with_database(self.url, name)

    def drop_database(self, url: str) -> None:
        """Remove a database, even if there are connections to it."""
        name = urllib.parse.urlsplit(url).path.lstrip("/")
        in_other_loop(execute(self.url, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))


def new_folder() -> Path:
    """Return a new folder for a server's data, in memory where there is room.

    Each database that is made or dropped is a checkpoint. On a disk that costs ten times the CPU, and waits.
    """
    memory = Path("/dev/shm")
    usable = memory.is_dir() and os.access(memory, os.W_OK | os.X_OK)
    if usable:
        _remove_leftovers(memory)
    roomy = usable and shutil.disk_usage(memory).free >= _ROOM_BYTES
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=memory if roomy else None))
    fcntl.flock(os.open(folder / _ALIVE, os.O_CREAT | os.O_RDWR), fcntl.LOCK_EX)  # held until this process ends
    return folder


def _remove_leftovers(memory: Path) -> None:
    """Remove the folders of test runs that were killed."""
    for folder in memory.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError), (folder / _ALIVE).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _wanted_binaries() -> Iterator[None]:
    """Use the PostgreSQL of the major version that KJR_TEST_POSTGRES_MAJOR names, instead of the newest of this machine."""
    wanted = os.environ.get("KJR_TEST_POSTGRES_MAJOR")
    with pytest.MonkeyPatch.context() as patch:
        if wanted is not None:
            found = binaries.find(major=int(wanted))
            patch.setattr(binaries, "find", lambda **_: found)
        yield


@pytest.fixture(scope="session")
def pg_server() -> Iterator[Server]:
    """A real PostgreSQL, started when the first test needs it and stopped with the session."""
    folder = new_folder()
    with _wanted_binaries():
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


@pytest_asyncio.fixture
async def pg(database_url: str) -> AsyncIterator[postgres.Postgres]:
    """The store, the queue and the hints on a fresh database."""
    opened = await postgres.connect(database_url, pool_size=8, acquire_seconds=10.0, poll_seconds=0.05)
    yield opened
    await opened.close()


async def until(check: Callable[[], Awaitable[T | None]], *, what: str, timeout_seconds: float = 20.0) -> T:
    """Return the first true answer of `check`; fail when there is none in time. For the state of a real server."""
    deadline = time.monotonic() + timeout_seconds
    while True:
        answer = await check()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"not within {timeout_seconds} s: {what}"
        await asyncio.sleep(0.02)


# --- Rows to store ----------------------------------------------------------------------------------------------------

SPEC = JobSpec(image="registry.example/tool:1", command=("run",))


def make_job(**fields: Any) -> Job:
    """Return a job as a submit makes it."""
    now = datetime.now(UTC)
    defaults: dict[str, Any] = {"name": "job", "owner": "alice", "created_at": now, "due_at": now}
    return Job(**({"id": names.new_job_id(fields.get("created_at", now))} | defaults | fields))


def make_submission(*, key: str | None = None, body: bytes = b"request", **fields: Any) -> Submission:
    """Return a submission of such a job."""
    job = make_job(**fields)
    return Submission(
        job=job,
        spec=msgspec.json.encode(SPEC),
        idempotency_key=key,
        request_hash=body,
        response=f"answer {job.id}".encode(),
    )


async def store_jobs(pg: postgres.Postgres, *submissions: Submission) -> list[Job]:
    """Store submissions; return their jobs."""
    await pg.submit_store.insert_jobs(submissions)
    return [submission.job for submission in submissions]


def make_attempt(job: Job, number: int = 1, **fields: Any) -> Attempt:
    """Return an attempt of a job."""
    name = names.cluster_job_name(job.name, job.id, number)
    return Attempt(job_id=job.id, number=number, namespace=job.namespace, cluster_name=name, **fields)


def make_change(job: Job, to: State, *, number: int = 1, reason: str = "", **parts: Any) -> Change:
    """Return the change that moves a job to a state, with its transitions; `parts` are more fields of the change."""
    now = datetime.now(UTC)
    ended = to in {State.SUCCEEDED, State.FAILED, State.CANCELLED}
    steps = tuple(
        Transition(job_id=job.id, version=version, attempt=number, from_state=old, to_state=new, at=now, reason=reason)
        for version, (old, new) in enumerate(_steps(job.state, to), start=job.version + 1)
    )
    after = msgspec.structs.replace(
        job,
        state=to,
        version=job.version + max(1, len(steps)),
        attempt=number,
        reason=reason,
        next_check_at=None if ended else now + timedelta(hours=1),
        finished_at=now if ended else None,
    )
    return Change(expected_version=job.version, job=after, transitions=steps, **parts)


def _steps(old: State, new: State) -> list[tuple[State, State]]:
    """Return the fewest legal steps from one state to another: none when it stays; an illegal one when there are none."""
    ways: list[tuple[State, ...]] = [(old,)]
    for way in ways:
        if way[-1] is new:
            return list(itertools.pairwise(way))
        ways += [(*way, state) for state in states.NEXT[way[-1]] if state not in way]
    return [(old, new)]


async def finish(pg: postgres.Postgres, job: Job, to: State = State.SUCCEEDED, **parts: Any) -> Job:
    """Move a stored job straight to its end; return it."""
    change = make_change(job, to, **parts)
    assert await pg.process_store.commit([change], receipts={}) == {job.id}
    return change.job


async def age(url: str, table: str, column: str, seconds: float, **where: UUID) -> None:
    """Make rows older by moving one of their times into the past: the database's clock cannot be moved."""
    condition = " AND ".join(f"{key} = '{value}'" for key, value in where.items()) or "true"
    await execute(url, f"UPDATE {table} SET {column} = {column} - interval '{seconds} seconds' WHERE {condition}")
