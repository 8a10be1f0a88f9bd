"""The store: all its ports over one pool. Each port's own file has what it does."""

from __future__ import annotations

import asyncio

from kube_job_runner.adapters.postgres.pool import Pool
from kube_job_runner.adapters.postgres.server_health import HealthCheck
from kube_job_runner.adapters.postgres.stores.job_reader import Reader
from kube_job_runner.adapters.postgres.stores.process_store import Process
from kube_job_runner.adapters.postgres.stores.reconcile_store import Reconcile
from kube_job_runner.adapters.postgres.stores.submit_store import Submit
from kube_job_runner.adapters.postgres.stores.sweep_store import Sweep
from kube_job_runner.adapters.postgres.stores.token_store import Tokens


class Store(Submit, Reader, Process, Sweep, Reconcile, Tokens, HealthCheck):
    """All the store ports on PostgreSQL."""

    def __init__(self, pool: Pool, url: str) -> None:
        self._pool = pool
        self._url = url
        self._probing = asyncio.Lock()

    async def close(self) -> None:
        """Close the connection of the health check; the pool belongs to who made it."""
        self._drop_probe()
