"""Readiness of the database, and the depth of its tables for metrics."""

from kube_job_runner.adapters.postgres import failure, schema, statements
from kube_job_runner.adapters.postgres.direct_connections import Direct, KeptConnection
from kube_job_runner.adapters.postgres.pool import Pool
from kube_job_runner.ports import QueueDepth
from kube_job_runner.telemetry import loggers

log = loggers.get_logger(__name__)

SQL = statements.load("health")
CHECK_SECONDS = 3.0
COUNT_LIMIT = 100_000  # counting stops here: metrics must not cost more than the work


class PostgresHealth:
    """`Health` on PostgreSQL. The check has its own connection, so that a full pool does not look like a dead server."""

    def __init__(self, pool: Pool, url: str) -> None:
        self._pool = pool
        self._probe = KeptConnection(url, name="kube-job-runner health", answer_seconds=CHECK_SECONDS)
        self._logged: str | None = None

    async def check(self) -> dict[str, str | None]:
        """See `ports.Health`. Everybody may read the answer, so the words of the driver and the server go to the log."""
        try:
            found = await self._probe.use(_check)
        except Exception as error:  # noqa: BLE001 - a health check reports every problem; it never raises
            self._log_once(f"{type(error).__name__}: {error}")
            return {"database": failure.public(error), "schema": "unknown: the database does not answer"}
        self._logged = None
        return found

    def _log_once(self, said: str) -> None:
        if said != self._logged:
            self._logged = said
            log.warning("the database is not ready", action="database.check", error=said)

    async def depth(self) -> QueueDepth:
        """Return the depth figures: exact up to 100,000 of a kind; ended jobs as of the last ANALYZE."""
        live = await self._pool.fetch(SQL["live_jobs"], COUNT_LIMIT)
        ended = await self._pool.fetch(SQL["ended_jobs"])
        queues = await self._pool.fetch(SQL["jobs_by_queue"], COUNT_LIMIT)
        queue = await self._pool.fetchrow(SQL["messages"], COUNT_LIMIT)
        assert queue is not None
        return QueueDepth(
            jobs_by_state={row["state"]: row["jobs"] for row in (*live, *ended)},
            jobs_by_queue={(row["queue"], row["state"]): row["jobs"] for row in queues},
            messages=queue["messages"],
            oldest_message_seconds=queue["oldest_seconds"],
            outbox_oldest_seconds=queue["oldest_seconds"],
            dead_letters=queue["dead_letters"],
        )

    async def close(self) -> None:
        """Close the connection of the check; the pool stays open."""
        self._probe.drop()


async def _check(connection: Direct) -> dict[str, str | None]:
    if not await connection.fetchval(SQL["writable"]):
        # The error also closes the connection: after a failover the same address may lead to another server.
        raise failure.read_only()
    applied = await schema.read_applied(connection)
    return {"database": None, "schema": schema.problem(applied, schema.known())}
