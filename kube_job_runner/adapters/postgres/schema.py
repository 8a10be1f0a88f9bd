"""The migration runner: numbered SQL files, each applied once. If several replicas start together, the first one applies them.

Each file runs in one transaction with the row that records it. A `*.concurrent.sql` file runs statement by statement, for
statements that PostgreSQL refuses in a transaction. An applied file must never change; its SHA-256 is compared. A migration
that older programs can work with says so in its first line: `-- compatible`.
"""

import asyncio
import hashlib
import re
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

import asyncpg
import msgspec

from kube_job_runner.adapters.postgres import pooler_check
from kube_job_runner.adapters.postgres import statements as named
from kube_job_runner.adapters.postgres.direct_connections import Direct, connected
from kube_job_runner.adapters.postgres.embedded.binaries import OLDEST_MAJOR
from kube_job_runner.domain import errors
from kube_job_runner.domain.backoff import Backoff
from kube_job_runner.telemetry import loggers

SQL = named.load("schema")
LOCK_KEY = 0x6B6A72  # "kjr"
LOCK_TIMEOUT_SECONDS = 300.0

_log = loggers.get_logger(__name__)
_NAME = re.compile(r"(\d{4})_([a-z0-9_]+)(\.concurrent)?\.sql")


class Migration(msgspec.Struct, frozen=True, kw_only=True):
    """One numbered SQL file. `compatible`: a program that does not know it can work with the schema after it."""

    number: int
    name: str
    sql: str
    concurrent: bool = False

    @property
    def checksum(self) -> str:
        """SHA-256 of the text, in hex."""
        return hashlib.sha256(self.sql.encode()).hexdigest()

    @property
    def compatible(self) -> bool:
        """Whether the first line says that it is."""
        return self.sql.startswith("-- compatible")


class Applied(msgspec.Struct, frozen=True, kw_only=True):
    """A row of `schema_migrations`."""

    number: int
    name: str
    checksum: str
    compatible: bool


def known(folder: Path | None = None) -> tuple[Migration, ...]:
    """Return the migrations of this program, or those of a folder, in order."""
    found = []
    for entry in (folder or resources.files("kube_job_runner.adapters.postgres").joinpath("migrations")).iterdir():
        match = _NAME.fullmatch(entry.name)
        if match:
            found.append(
                Migration(
                    number=int(match[1]), name=match[2], sql=entry.read_text("utf-8"), concurrent=match[3] is not None
                )
            )
    return tuple(sorted(found, key=lambda migration: migration.number))


def problem(applied: Sequence[Applied], migrations: Sequence[Migration]) -> str | None:
    """Return why a program with these migrations cannot work with a schema to which `applied` was applied; None: it can."""
    by_number = {migration.number: migration for migration in migrations}
    for row in applied:
        mine = by_number.pop(row.number, None)
        if mine is None and not row.compatible:
            return f"the schema is newer than this program (migration {row.number:04} {row.name}): upgrade the program"
        if mine is not None and mine.checksum != row.checksum:
            return f"migration {row.number:04} {row.name} is not the file that was applied: it must never be edited"
    if by_number:
        return f"the schema is behind ({len(by_number)} migrations not applied, first {min(by_number):04}): run `kjr migrate`"
    return None


async def read_applied(connection: Direct) -> list[Applied]:
    """Return the applied migrations, in order; none if the schema was never made."""
    if not await connection.fetchval(SQL["exists"]):
        return []
    return [Applied(**dict(row)) for row in await connection.fetch(SQL["applied"])]


async def may_migrate(url: str) -> bool:
    """Return whether the role of that URL may change the schema. The role of a component may not.

    Raises:
        DatabaseUnavailable: the database does not answer.
        ConfigurationError: it refuses us, or the URL is wrong.
    """
    async with connected(url, name="kjr migrate") as connection:
        return bool(await connection.fetchval(SQL["may_migrate"]))


async def migrate(url: str, *, migrations: Sequence[Migration] | None = None) -> list[str]:
    """Apply the missing migrations; return their names. Several processes may call it at the same time.

    Raises:
        ConfigurationError: a migration was edited after it was applied, the schema is newer than this program, the server is
            older than PostgreSQL 15 or behind a transaction pooler, or the role may not change the schema.
        DatabaseUnavailable: the database does not answer.
        PermanentError: a migration failed; its transaction was rolled back.
    """
    await pooler_check.check(url)
    async with connected(url, name="kjr migrate") as connection:
        try:
            await connection.execute(SQL["own_timeouts"])
            return await _migrate(connection, known() if migrations is None else migrations)
        except asyncpg.InsufficientPrivilegeError as error:
            role = connection.get_settings().session_authorization
            raise errors.ConfigurationError(
                f"the database role {role} may not change the schema: {error}; run `kjr migrate` as the owner of the tables"
            ) from error


async def _migrate(connection: Direct, migrations: Sequence[Migration]) -> list[str]:
    version = connection.get_server_version()
    if version.major < OLDEST_MAJOR:
        raise errors.ConfigurationError(
            f"PostgreSQL {version.major} is too old: kube-job-runner needs {OLDEST_MAJOR} or newer"
        )
    await lock(connection)
    try:
        await connection.execute(SQL["create_table"])
        applied = await read_applied(connection)
        done = {row.number for row in applied}
        to_do = [migration for migration in migrations if migration.number not in done]
        wrong = problem(applied, [migration for migration in migrations if migration.number in done])
        if wrong:
            raise errors.ConfigurationError(wrong)
        for migration in to_do:
            await _apply(connection, migration)
        return [f"{migration.number:04}_{migration.name}" for migration in to_do]
    finally:
        await connection.execute(SQL["unlock"], LOCK_KEY)


async def lock(connection: Direct) -> None:
    """Take the lock for changes of the schema, by polling.

    A wait in `pg_advisory_lock()` would hold a snapshot, and CREATE INDEX CONCURRENTLY of the lock's holder would wait for that
    snapshot. Both would wait forever, because the deadlock detector does not see it.
    """
    deadline = asyncio.get_running_loop().time() + LOCK_TIMEOUT_SECONDS
    retries = Backoff(first_seconds=0.1, max_seconds=1.0, factor=1.5)
    while not await connection.fetchval(SQL["try_lock"], LOCK_KEY):
        if asyncio.get_running_loop().time() > deadline:
            raise errors.TemporaryError(f"another process has been migrating for {LOCK_TIMEOUT_SECONDS:.0f} s")
        await asyncio.sleep(retries.next())


async def _apply(connection: Direct, migration: Migration) -> None:
    _log.info("applying a migration", action="migration.apply", number=migration.number, name=migration.name)
    record = (migration.number, migration.name, migration.checksum, migration.compatible)
    if migration.concurrent:
        for statement in statements(migration.sql):
            await connection.execute(statement)
        await connection.execute(SQL["record"], *record)
        return
    async with connection.transaction():
        # While a migration waits for its lock, everybody else queues behind it. So it must not wait for long.
        await connection.execute("SET LOCAL lock_timeout = '20s'")
        await connection.execute(migration.sql)
        await connection.execute(SQL["record"], *record)


def statements(sql: str) -> list[str]:
    """Return the statements of a `.concurrent.sql` file. Each ends with a semicolon at the end of a line."""
    text = "\n".join(line for line in sql.splitlines() if not line.lstrip().startswith("--"))
    return [part.strip() for part in re.split(r";\s*(?:\n|$)", text) if part.strip()]
