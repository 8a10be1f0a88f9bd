"""The parts of a process, and the builders of its services from them, by explicit arguments."""

import asyncio
import dataclasses
import datetime as dt
import functools
import os
import socket
import time
from collections.abc import Callable, Mapping

import msgspec

from kube_job_runner import ports
from kube_job_runner.adapters import postgres
from kube_job_runner.bootstrap import rules
from kube_job_runner.components.leader_loop import Leadership
from kube_job_runner.domain.decide.ruleset import Rules
from kube_job_runner.services.cluster_identity import IdentityCheck
from kube_job_runner.services.collect import Collector
from kube_job_runner.services.observe import Kind, Observer
from kube_job_runner.services.pipeline.processor import Processor
from kube_job_runner.services.readiness import Readiness
from kube_job_runner.services.reconcile import Reconciler
from kube_job_runner.services.relay import Relay
from kube_job_runner.services.sweep import Sweeper
from kube_job_runner.settings import Settings
from kube_job_runner.settings.groups import LogStoreSettings
from kube_job_runner.web.app import WebApp, build_app

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


class SystemClock:
    """`Clock` of this machine."""

    def now(self) -> dt.datetime:
        return dt.datetime.now(dt.UTC)

    def monotonic(self) -> float:
        return time.monotonic()


def leadership(settings: Settings, component: str, leases: ports.LeaseStore) -> Leadership:
    """Return this process's part in the lease of a component."""
    holder = f"{socket.gethostname()}/{os.getpid()}"
    return Leadership(component, leases, holder=holder, lease_seconds=settings.process.leader_lease_seconds)


def log_store(settings: LogStoreSettings, index: postgres.PostgresLogStore) -> ports.LogStore:
    """Return the store of logs that the settings name; `index` is PostgreSQL's, which has the rows in any case."""
    if settings.address == "postgres":
        return index
    from kube_job_runner.adapters import object_store

    bodies = object_store.connect(settings.address, endpoint=settings.endpoint, region=settings.region)
    return object_store.ObjectLogs(index, bodies)


def web_app(parts: Parts, clock: ports.Clock, *, tracer: ports.Tracer | None) -> WebApp:
    """Return the application of the web-server; `clock` is the database's, so that no machine's own clock dates a submit."""
    return build_app(
        settings=parts.settings,
        submit_store=parts.pg.submit_store,
        reader=parts.pg.job_reader,
        tokens=parts.pg.token_store,
        health=parts.pg.health,
        wakeup=parts.pg.wakeup,
        logs=log_store(parts.settings.log_store, parts.pg.logs),
        clock=clock,
        admission=parts.settings.admission,
        table=rules.load(parts.settings.process.failure_rules),
        readiness=parts.readiness,
        tracer=tracer,
    )


def processor(parts: Parts, *, tracer: ports.Tracer | None) -> Processor:
    """Return the batch pipeline of the messages-processor."""
    settings = parts.settings
    return Processor(
        store=parts.pg.process_store,
        queue=parts.queue,
        cluster=parts.cluster,
        clock=parts.clock,
        rules=Rules(
            graces=msgspec.structs.asdict(settings.graces),
            table=rules.load(settings.process.failure_rules),
            **msgspec.structs.asdict(settings.bounds),
        ),
        limits=settings.admission,
        settings=settings.batches,
        tracer=tracer,
        watches=parts.pg.watch_reader,
    )


def observer(kind: Kind, parts: Parts, fenced: postgres.Fenced) -> Observer:
    """Return the service of a watcher: `job` for the job-status-processor, `pod` and `event` for the pod-events-processor."""
    cluster = parts.cluster
    watches = {"job": cluster.watch_jobs, "pod": cluster.watch_pods, "event": cluster.watch_events}
    return Observer(
        kind=kind,
        events=watches[kind](),
        store=fenced.observe_store,
        queue=fenced.queue,
        clock=parts.clock,
        nodes=cluster if kind == "pod" else None,
        known_pods=fenced.observe_store.known_pods if kind == "pod" else None,
        times=functools.partial(cluster.watch_times, kind) if kind != "event" else None,
        finder=cluster if kind == "job" else None,
    )


def collector(parts: Parts, *, tracer: ports.Tracer | None) -> Collector:
    """Return the service of the log-collector."""
    return Collector(
        store=log_store(parts.settings.log_store, parts.pg.logs),
        cluster=parts.cluster,
        wakeup=parts.pg.wakeup,
        clock=parts.clock,
        settings=parts.settings.collect,
        bounds=parts.settings.bounds,
        identity=IdentityCheck(parts.cluster, parts.pg.bound_cluster, parts.clock),
        tracer=tracer,
    )


def sweeper(parts: Parts, fenced: postgres.Fenced) -> Sweeper:
    """Return the service of the sweeper."""
    return Sweeper(
        store=fenced.sweep_store,
        logs=log_store(parts.settings.log_store, fenced.logs),
        clock=parts.clock,
        settings=parts.settings.retention,
    )


def reconciler(parts: Parts, fenced: postgres.Fenced) -> Reconciler:
    """Return the service that compares the store with the cluster."""
    return Reconciler(
        store=fenced.reconcile_store,
        cluster=parts.cluster,
        queue=fenced.queue,
        clock=parts.clock,
        settings=parts.settings.sweep,
    )


def relay(parts: Parts) -> Relay:
    """Return the service of the outbox-relay."""
    assert parts.sink is not None
    return Relay(outbox=parts.pg.queue, sink=parts.sink)
