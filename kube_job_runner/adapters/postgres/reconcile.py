"""What the comparison of the store with the cluster needs: who we are, and which cluster jobs should exist."""

from __future__ import annotations

from kube_job_runner.adapters.postgres import statements
from kube_job_runner.adapters.postgres.pool import Pool
from kube_job_runner.domain.errors import ConfigurationError

SQL = statements.load("reconcile")


class Reconcile:
    """`InstallationStore` on PostgreSQL."""

    _pool: Pool

    async def installation_id(self) -> str:
        """Return the id of the installation that this database belongs to."""
        row = await self._pool.fetchrow(SQL["installation"])
        if row is None:
            raise ConfigurationError("the table `installation` is empty: INSERT INTO installation DEFAULT VALUES")
        return str(row["id"])
