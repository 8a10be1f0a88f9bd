"""The store: all its ports over one pool. Each port's own file has what it does."""

from __future__ import annotations

import asyncio

from kube_job_runner.adapters.postgres.pool import Pool
from kube_job_runner.adapters.postgres.process_store import Process
from kube_job_runner.adapters.postgres.reader import Reader
from kube_job_runner.adapters.postgres.reconcile_store import Reconcile
from kube_job_runner.adapters.postgres.server_health import HealthCheck
from kube_job_runner.adapters.postgres.submit_store import Submit
from kube_job_runner.adapters.postgres.sweep_store import Sweep
from kube_job_runner.adapters.postgres.tokens import Tokens


class Store(Submit, Reader, Process, Sweep, Reconcile, Tokens, HealthCheck):
    """All the store ports on PostgreSQL."""

    def __init__(self, pool: Pool, url: str) -> None:
        self._pool = pool
        self._url = url
        self._probing = asyncio.Lock()

    async def close(self) -> None:
        """Close the connection of the health check; the pool belongs to who made it."""
        self._drop_probe()
