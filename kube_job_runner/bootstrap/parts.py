"""What a process with components has opened, and shares among them."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Mapping

from kube_job_runner import ports
from kube_job_runner.adapters import postgres
from kube_job_runner.components.leader_loop import Leadership
from kube_job_runner.services.readiness import Readiness
from kube_job_runner.settings import Settings

TracerOf = Callable[[str], ports.Tracer | None]
"""Returns the tracer of a component, by its name."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Parts:
    """The parts of one process.

    `opened_cluster` is None when no component uses the cluster, `sink` when no component uses a queue outside the database.
    `leaders` are this process's leases, by component. `on_ready` is called with the URL once requests are served.
    """

    settings: Settings
    pg: postgres.Postgres
    opened_cluster: ports.Cluster | None
    sink: ports.OpenQueue | None
    clock: ports.Clock
    stop: asyncio.Event
    leaders: Mapping[str, Leadership]
    readiness: Readiness
    tracer_of: TracerOf
    on_ready: Callable[[str], None] | None

    @property
    def cluster(self) -> ports.Cluster:
        """The cluster, for components whose row says that they use it."""
        assert self.opened_cluster is not None
        return self.opened_cluster

    @property
    def queue(self) -> ports.MessageQueue:
        """The queue that messages are received from."""
        return self.pg.queue if self.sink is None else self.sink
