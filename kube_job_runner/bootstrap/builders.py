"""One builder per component, wired by explicit arguments."""

from __future__ import annotations

import datetime as dt
import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from kube_job_runner import ports
from kube_job_runner.adapters import postgres
from kube_job_runner.bootstrap import rules
from kube_job_runner.components import leader_loop
from kube_job_runner.domain.decide.ruleset import Rules
from kube_job_runner.services.collect import Collector
from kube_job_runner.services.observe import Kind, Observer
from kube_job_runner.services.pipeline.processor import Processor
from kube_job_runner.services.readiness import Probe, Readiness, round_age, watch_age
from kube_job_runner.services.reconcile import Reconciler
from kube_job_runner.services.relay import QueueHealth, Relay
from kube_job_runner.services.sweep import Sweeper
from kube_job_runner.settings import Settings, kubernetes_environment
from kube_job_runner.web.app import build_app


class SystemClock:
    """The clocks of the machine."""

    def now(self) -> dt.datetime:
        """Return the time in UTC."""
        return dt.datetime.now(dt.UTC)

    def monotonic(self) -> float:
        """Return seconds that never step back."""
        return time.monotonic()


async def build_cluster(settings: Settings, clock: ports.Clock, *, installation: str) -> ports.Cluster:
    """Return the cluster adapter that the settings name, ready for use; `installation` marks what it creates as ours."""
    if settings.cluster.kind == "kubernetes":
        from kube_job_runner.adapters import kubernetes

        return await kubernetes.connect(
            settings.cluster,
            kubernetes_environment(os.environ),
            namespaces=settings.specs.namespaces,
            installation=installation,
        )
    if settings.cluster.kind == "local":
        from kube_job_runner.adapters.local import LocalCluster

        local = LocalCluster(settings.process.data_dir, clock=clock, installation=installation)
        await local.start()
        return local
    from kube_job_runner.adapters.simulated import SimulatedCluster

    simulated = SimulatedCluster(clock=clock, keep_history=False, installation=installation)
    simulated.start()
    return simulated


def build_relay(pg: postgres.Postgres, sink: ports.MessageSink) -> Relay:
    """Return the service of the outbox-relay."""
    return Relay(outbox=pg.queue, sink=sink)


def build_processor(
    settings: Settings,
    pg: postgres.Postgres,
    cluster: ports.ClusterWriter,
    clock: ports.Clock,
    *,
    queue: ports.MessageQueue,
    tracer: ports.Tracer | None = None,
) -> Processor:
    """Return the batch pipeline of the messages-processor."""
    return Processor(
        store=pg.process_store,
        queue=queue,
        cluster=cluster,
        clock=clock,
        rules=Rules(
            graces=msgspec.structs.asdict(settings.graces),
            table=rules.load(settings.process.failure_rules),
            **msgspec.structs.asdict(settings.bounds),
        ),
        limits=settings.admission,
        settings=settings.batches,
        tracer=tracer,
    )


def build_observer(
    kind: Kind, pg: postgres.Postgres | postgres.Fenced, cluster: ports.Cluster, clock: ports.Clock
) -> Observer:
    """Return the service of a watcher: `job` for the job-status-processor, `pod` and `event` for the pod-events-processor."""
    watches = {"job": cluster.watch_jobs, "pod": cluster.watch_pods, "event": cluster.watch_events}
    nodes = cluster if kind == "pod" else None
    return Observer(kind=kind, events=watches[kind](), store=pg.observe_store, queue=pg.queue, clock=clock, nodes=nodes)


def build_sweeper(settings: Settings, pg: postgres.Postgres | postgres.Fenced, clock: ports.Clock) -> Sweeper:
    """Return the service of the sweeper."""
    return Sweeper(
        store=pg.sweep_store,
        logs=build_logs(settings, pg),
        clock=clock,
        settings=settings.retention,
    )


def build_reconciler(
    settings: Settings,
    pg: postgres.Postgres | postgres.Fenced,
    cluster: ports.ClusterInventory,
    clock: ports.Clock,
) -> Reconciler:
    """Return the service that compares the store with the cluster."""
    return Reconciler(
        store=pg.reconcile_store,
        cluster=cluster,
        queue=pg.queue,
        clock=clock,
        settings=settings.sweep,
    )


def build_leadership(settings: Settings, component: str, pg: postgres.Postgres) -> leader_loop.Leadership:
    """Return this process's part in the lease of a component."""
    holder = f"{socket.gethostname()}/{os.getpid()}"
    return leader_loop.Leadership(
        component, pg.leases, holder=holder, lease_seconds=settings.process.leader_lease_seconds
    )


def build_logs(settings: Settings, pg: postgres.Postgres | postgres.Fenced) -> Any:
    """Return the store of logs that the settings name: `ports.LogCollectStore`, `ports.LogReader` and `ports.LogKeeper`."""
    logs = settings.log_store
    if logs.address == "postgres":
        return pg.logs
    from kube_job_runner.adapters import object_store

    bodies = object_store.connect(logs.address, endpoint=logs.endpoint, region=logs.region)
    return object_store.ObjectLogs(pg.logs, bodies)


def build_collector(
    settings: Settings,
    pg: postgres.Postgres,
    cluster: ports.ClusterLogs,
    clock: ports.Clock,
    *,
    tracer: ports.Tracer | None = None,
) -> Collector:
    """Return the service of the log-collector."""
    return Collector(
        store=build_logs(settings, pg),
        cluster=cluster,
        wakeup=pg.wakeup,
        clock=clock,
        settings=settings.collect,
        bounds=settings.bounds,
        tracer=tracer,
    )


def build_readiness(
    settings: Settings,
    components: Sequence[str],
    pg: postgres.Postgres,
    clock: ports.Clock,
    *,
    queue: Any,
    leaders: Mapping[str, leader_loop.Leadership],
    notes: Callable[[], Mapping[str, str]] = dict[str, str],
) -> Readiness:
    """Return the readiness of a process with these components: of its store, its watches while it leads, and its loops."""

    def while_leading(component: str, probe: Probe) -> Probe:
        return lambda: probe() if leaders[component].leads else None

    watches = {"job-status-processor": "job", "pod-events-processor": "pod"}
    probes: dict[str, Probe] = {}
    for name in components:
        if (
            name in watches and settings.cluster.kind == "kubernetes"
        ):  # the others have no bookmarks, and may be silent for long
            probes[f"watch-{watches[name]}s"] = while_leading(name, watch_age(watches[name], clock))
        elif name in ("messages-processor", "log-collector", "sweeper"):
            probes[name] = round_age(name, clock)
    health = pg.health if queue is pg.queue else QueueHealth(pg.health, queue)
    return Readiness(health, clock, probes, notes=notes, advisory="web-server" in components)


def build_web(
    settings: Settings,
    pg: postgres.Postgres,
    clock: ports.Clock,
    *,
    readiness: Readiness | None = None,
    tracer: ports.Tracer | None = None,
) -> Any:
    """Return the ASGI application of the web server."""
    return build_app(
        readiness=readiness,
        settings=settings,
        submit_store=pg.submit_store,
        reader=pg.job_reader,
        tokens=pg.token_store,
        health=pg.health,
        wakeup=pg.wakeup,
        logs=build_logs(settings, pg),
        clock=clock,
        admission=settings.admission,
        tracer=tracer,
    )
