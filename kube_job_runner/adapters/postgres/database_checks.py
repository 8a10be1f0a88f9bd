"""Checks of a database for `kjr doctor`: version, schema, rights of our role, clock, backlog."""

import datetime as dt

import asyncpg

from kube_job_runner.adapters.postgres import schema, statements
from kube_job_runner.adapters.postgres.direct_connections import Direct, connected
from kube_job_runner.adapters.postgres.embedded.binaries import OLDEST_MAJOR
from kube_job_runner.ports import ClusterIdentity
from kube_job_runner.ports.checks import CheckResult, fail, ok, warn

SQL = statements.load("doctor")
BOUND = statements.load("cluster_identity")["bound"]
WRITABLE = statements.load("health")["writable"]
CLOCK_SKEW_SECONDS = 5.0


async def run_checks(url: str) -> list[CheckResult]:
    """Return the results, the most basic check first. A check that a failed one makes impossible is left out. Never raises."""
    try:
        async with connected(url, name="kjr doctor") as connection:
            return await _run_checks(connection)
    except Exception as error:  # noqa: BLE001 - a check reports every error
        return [fail("database", str(error), "check KJR_DATABASE_URL, the network and the server")]


async def _run_checks(connection: Direct) -> list[CheckResult]:
    version = connection.get_server_version()
    found = [ok("database", f"PostgreSQL {version.major}.{version.minor}")]
    if version.major < OLDEST_MAJOR:
        remedy = f"use PostgreSQL {OLDEST_MAJOR} or newer"
        found[0] = fail("database", f"PostgreSQL {version.major} is too old", remedy)
    if not await connection.fetchval(WRITABLE):
        found.append(fail("database writes", "it is read-only", "point KJR_DATABASE_URL at the primary"))
    wrong = schema.problem(await schema.read_applied(connection), schema.known())
    found.append(fail("schema", wrong, "run `kjr migrate`") if wrong else ok("schema", "as this program needs it"))
    found += _durability(await connection.fetch(SQL["durability"]))
    now = await connection.fetchval(SQL["now"])
    skew_seconds = abs((dt.datetime.now(dt.UTC) - now).total_seconds())
    found.append(_skew("clock of the database", skew_seconds))
    if wrong is None:
        found += await _rights_and_queue(connection)
    return found


def _durability(rows: list[asyncpg.Record]) -> list[CheckResult]:
    """Return a warning for each setting of the server, the database or the role that can lose a commit that was acknowledged."""
    found = []
    for row in rows:
        text = f"{row['name']} is {row['value']}: {row['risk']}"
        remedy = (
            f"set it to on where it was changed ({row['source']}), or with ALTER SYSTEM, ALTER DATABASE or ALTER ROLE"
        )
        found.append(warn("database durability", text, remedy))
    return found


async def _rights_and_queue(connection: Direct) -> list[CheckResult]:
    lacking = await connection.fetch(SQL["lacking"], ["jobs", "messages"], ["SELECT", "INSERT"])
    user = await connection.fetchval("SELECT current_user")
    if lacking:
        text = ", ".join(f"{row['right']} on {row['table']}" for row in lacking)
        remedy = "the role of a single component may not need it; otherwise GRANT it, or connect as another role"
        return [warn("database rights", f"the role {user} lacks {text}", remedy)]
    found = [ok("database rights", f"the role {user} may read and send")]
    queue = await connection.fetchrow(SQL["backlog"])
    assert queue is not None
    if queue["oldest"] > 120:
        text = f"the oldest message has waited for {queue['oldest']:.0f} s"
        found.append(warn("queue", text, "see docs/runbooks/KjrMessagesOld.md"))
    elif queue["dead"]:
        found.append(warn("queue", f"{queue['dead']} dead letters", "see docs/runbooks/KjrDeadLetters.md"))
    else:
        found.append(ok("queue", f"the oldest message has waited for {queue['oldest']:.0f} s; no dead letters"))
    return found


async def bound_clusters(url: str) -> list[ClusterIdentity]:
    """Return the identities of the cluster that the database belongs to; none if that cannot be read. Never raises."""
    try:
        async with connected(url, name="kjr doctor") as connection:
            return [ClusterIdentity(**dict(row)) for row in await connection.fetch(BOUND)]
    except Exception:  # noqa: BLE001 - the checks of the database report it
        return []


def _skew(name: str, seconds: float) -> CheckResult:
    if seconds > CLOCK_SKEW_SECONDS:
        return warn(name, f"{seconds:.0f} s from the clock here", "synchronize both clocks (NTP)")
    return ok(name, f"within {seconds:.1f} s")
