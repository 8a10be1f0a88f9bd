"""One builder per component, wired by explicit arguments."""

from __future__ import annotations

import datetime as dt
import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kube_job_runner import ports
from kube_job_runner.adapters import postgres
from kube_job_runner.bootstrap import rules
from kube_job_runner.components import leader_loop
from kube_job_runner.domain.decide.admission import AdmissionLimits
from kube_job_runner.domain.decide.ruleset import Rules
from kube_job_runner.services.collect import Collector
from kube_job_runner.services.log_stream import CollectSettings
from kube_job_runner.services.observe import Kind, Observer
from kube_job_runner.services.process import Processor, ProcessSettings
from kube_job_runner.services.readiness import Probe, Readiness, round_age, watch_age
from kube_job_runner.services.reconcile import Reconciler, ReconcileSettings
from kube_job_runner.services.relay import QueueHealth, Relay
from kube_job_runner.services.retention import RetentionSettings
from kube_job_runner.services.sweep import Sweeper
from kube_job_runner.settings import Settings, kubernetes_environment
from kube_job_runner.web.app import build_app

POSTGRES_POLL_SECONDS = 1.0


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
    if settings.cluster == "kubernetes":
        from kube_job_runner.adapters import kubernetes

        return await kubernetes.connect(settings, kubernetes_environment(os.environ), installation=installation)
    if settings.cluster == "local":
        from kube_job_runner.adapters.local import LocalCluster

        local = LocalCluster(settings.data_dir, clock=clock, installation=installation)
        await local.start()
        return local
    from kube_job_runner.adapters.simulated import SimulatedCluster

    simulated = SimulatedCluster(clock=clock, keep_history=False, installation=installation)
    simulated.start()
    return simulated


def admission_limits(settings: Settings) -> AdmissionLimits:
    """Return how many jobs may be in flight."""
    return AdmissionLimits(
        total=settings.max_in_flight, per_queue=settings.queue_max_in_flight, queues=settings.queue_limits
    )


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
            graces=rules.graces(settings),
            table=rules.load(settings.failure_rules),
            evidence_grace_seconds=settings.evidence_grace_seconds,
            cleanup_delay_seconds=settings.cleanup_delay_seconds,
            force_after_seconds=settings.force_after_seconds,
            log_deadline_seconds=settings.log_deadline_seconds,
        ),
        settings=ProcessSettings(
            batch_size=settings.batch_size,
            lease_seconds=settings.lease_seconds,
            max_deliveries=settings.max_deliveries,
            limits=admission_limits(settings),
            poll_seconds=POSTGRES_POLL_SECONDS if queue is pg.queue else settings.queue_wait_seconds,
        ),
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
        settings=RetentionSettings(
            jobs_seconds=settings.job_retention_seconds,
            transitions_seconds=settings.transition_retention_seconds,
            logs_seconds=settings.log_retention_seconds,
            dead_letters_seconds=settings.dead_letter_retention_seconds,
            idempotency_seconds=settings.idempotency_retention_seconds,
        ),
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
        settings=ReconcileSettings(orphan_grace_seconds=settings.orphan_grace_seconds),
    )


def build_leadership(settings: Settings, component: str, pg: postgres.Postgres) -> leader_loop.Leadership:
    """Return this process's part in the lease of a component."""
    holder = f"{socket.gethostname()}/{os.getpid()}"
    return leader_loop.Leadership(component, pg.leases, holder=holder, lease_seconds=settings.leader_lease_seconds)


def build_logs(settings: Settings, pg: postgres.Postgres | postgres.Fenced) -> Any:
    """Return the store of logs that the settings name: `ports.LogCollectStore`, `ports.LogReader` and `ports.LogKeeper`."""
    if settings.log_store == "postgres":
        return pg.logs
    from kube_job_runner.adapters import objectstore

    bodies = objectstore.connect(
        settings.log_store, endpoint=settings.log_store_endpoint, region=settings.log_store_region
    )
    return objectstore.ObjectLogs(pg.logs, bodies)


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
        settings=CollectSettings(
            max_bytes=settings.log_max_bytes,
            follow_after_seconds=settings.log_follow_after_seconds,
            follows_max=settings.log_follows_max,
            deadline_seconds=settings.log_deadline_seconds,
            cleanup_delay_seconds=settings.cleanup_delay_seconds,
        ),
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
            name in watches and settings.cluster == "kubernetes"
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
        admission=admission_limits(settings),
        tracer=tracer,
    )
