"""The composition root: one builder per component, wired by explicit arguments. Nothing else names a concrete adapter.

CLI, SDK ──HTTP──> web-server ── one commit: job + spec + transition + message ──> PostgreSQL (store + queue, or outbox)
                                                                                        │ (SQS: outbox-relay sends it on)
    messages-processor: lease a batch -> load its jobs -> decide (pure) -> admit -> create -> one commit, ack
          │ create, delete                                                              ▲
          ▼                                                                             │ observations
    Kubernetes ──watch Jobs──> job-status-processor ────────────────────────────────────┤
               ──watch Pods──> pod-events-processor ────────────────────────────────────┘
               ──pod logs────> log-collector ── chunks ──> log store (PostgreSQL, S3) ──> web-server
    sweeper: what is due (`next_check_at`) -> Check messages; store and cluster compared -> orphans removed, zombies reported
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import functools
import importlib
import os
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine, Mapping, Sequence
from typing import Any, Literal, TypeVar

from kube_job_runner import __version__, ports, rulefile, telemetry
from kube_job_runner.adapters import postgres
from kube_job_runner.components import (
    leadership,
    lifetime,
    log_collector,
    messages_processor,
    outbox_relay,
    probes,
    sweeper,
    watchers,
    web_server,
)
from kube_job_runner.domain.admission import AdmissionLimits
from kube_job_runner.domain.draft import Rules
from kube_job_runner.domain.errors import ConfigurationError, TemporaryError
from kube_job_runner.ports.doctor import Finding, fail, ok, warn
from kube_job_runner.services.collect import Collector
from kube_job_runner.services.logstream import CollectSettings
from kube_job_runner.services.observe import Kind, Observer
from kube_job_runner.services.process import Processor, ProcessSettings
from kube_job_runner.services.readiness import DepthMeter, Probe, Readiness, round_age, watch_age
from kube_job_runner.services.reconcile import Reconciler, ReconcileSettings
from kube_job_runner.services.relay import QueueHealth, Relay
from kube_job_runner.services.retention import RetentionSettings
from kube_job_runner.services.sweep import Sweeper
from kube_job_runner.settings import (
    Settings,
    aws_region,
    changed,
    kubernetes_environment,
    secrets,
    suggestion,
    tracing_protocol,
    tracing_wanted,
    unknown_variables,
)
from kube_job_runner.web import auth

log = telemetry.get_logger(__name__)
_T = TypeVar("_T")

COMPONENTS = (
    "web-server",
    "messages-processor",
    "job-status-processor",
    "pod-events-processor",
    "log-collector",
    "sweeper",
)
LED = {"job-status-processor", "pod-events-processor", "sweeper"}
"""Components of which one process works at a time and the others stand by; of the rest, any number work side by side."""
RELAY = "outbox-relay"  # only where the queue is not in the database
_STORE_ONLY = {"web-server", RELAY}  # they have no business in the cluster
_NO_QUEUE = {"web-server", "log-collector", *LED}  # what they send goes into the database
_TRACED = frozenset({"web-server", "messages-processor", "log-collector"})  # the others make no spans
_SCHEMA_WAIT_SECONDS = 120.0
_RIGHTS_WAIT_SECONDS = 20.0  # a migration and its grants are two commits
POSTGRES_POLL_SECONDS = 1.0
_LOCAL_TOKEN_NAME = "local"  # noqa: S105 - a name, not a secret

OnReady = Callable[[str, str], None]
TracerOf = Callable[[str], ports.Tracer | None]
"""Gives a component, by its name, what takes its spans."""


class SystemClock:
    """The clocks of the machine."""

    def now(self) -> dt.datetime:
        """Return the time in UTC."""
        return dt.datetime.now(dt.UTC)

    def monotonic(self) -> float:
        """Return seconds that never step back."""
        return time.monotonic()


# --- What the command line calls --------------------------------------------------------------------------------------


def up(settings: Settings, *, on_ready: OnReady) -> int:
    """Run everything in one process: embedded PostgreSQL unless a URL is set, migrations, all components.

    `on_ready(url, token)` is called once requests are served. Returns the exit code; blocks until a signal.

    Raises:
        ConfigurationError: the data directory is in use, or a setting or a failure rule does not fit.
    """
    rulefile.load(settings.failure_rules)  # a wrong rule stops the start before anything runs
    with _database(settings) as url:
        return _run(settings, _up(settings, url, on_ready))


def serve(settings: Settings, components: Sequence[str]) -> int:
    """Run these components (all of them when none is named) in this process until a signal; return the exit code.

    Raises:
        ConfigurationError: an unknown component, or a setting that does not fit.
    """
    everything = all_components(settings)
    _refuse_unknown(components, everything)
    if RELAY in components and RELAY not in everything:
        raise ConfigurationError(
            f"{RELAY}: nothing to relay, the queue is in PostgreSQL (KJR_QUEUE); leave it out, or set KJR_QUEUE=sqs://NAME"
        )
    chosen = tuple(components) or everything
    if settings.cluster != "kubernetes" and set(chosen) != set(everything):
        raise ConfigurationError(
            f"the {settings.cluster} cluster lives in one process: run all components together, or set KJR_CLUSTER=kubernetes"
        )
    if settings.database_url is None and set(chosen) != set(everything):
        raise ConfigurationError("KJR_DATABASE_URL: must be set when components run apart")
    rulefile.load(settings.failure_rules)
    with _database(settings) as url:
        return _run(settings, _serve(settings, url, chosen, on_ready=None))


def _refuse_unknown(components: Sequence[str], everything: Sequence[str]) -> None:
    unknown = sorted(set(components) - {*COMPONENTS, RELAY})
    if unknown:
        raise ConfigurationError(f"unknown component {', '.join(unknown)}; there are: {', '.join(everything)}")


def all_components(settings: Settings) -> tuple[str, ...]:
    """Return the components of an installation with these settings.

    Raises:
        ConfigurationError: KJR_QUEUE cannot be read.
    """
    return COMPONENTS if queue_address(settings) is None else (*COMPONENTS, RELAY)


def init_queue(settings: Settings) -> list[str] | None:
    """Make the queue outside the database with its dead-letter queue; return what was done, None when there is no such queue.

    Raises:
        ConfigurationError: it cannot be made.
    """
    address = queue_address(settings)
    if address is None:
        return None
    making: Coroutine[Any, Any, list[str]] = _sqs("admin").init(
        address, lease_seconds=settings.lease_seconds, max_deliveries=settings.max_deliveries
    )
    return lifetime.run_to_end(making)


def check_queue(settings: Settings) -> tuple[list[str], ports.QueueCounts] | None:
    """Return what is wrong with the queue outside the database and how many messages there are, None when there is none.

    Raises:
        ConfigurationError: it cannot be asked.
    """
    address = queue_address(settings)
    if address is None:
        return None
    checking: Coroutine[Any, Any, tuple[list[str], ports.QueueCounts]] = _sqs("admin").check(
        address, max_deliveries=settings.max_deliveries
    )
    return lifetime.run_to_end(checking)


def migrate(settings: Settings) -> list[str]:
    """Bring the database's schema up to this program; return the names of the migrations applied."""
    with _database(settings) as url:
        return lifetime.run_to_end(postgres.migrate(url))


def grant_roles(settings: Settings) -> list[str]:
    """Make and grant the components' roles in a database that has been migrated; return their names."""
    with _database(settings) as url:
        return lifetime.run_to_end(postgres.roles.grant(url, prefix=settings.database_role_prefix))


def roles_script(settings: Settings) -> str:
    """Return the SQL that does the same, for an administrator to run."""
    return postgres.roles.script(settings.database_role_prefix)


def create_token(settings: Settings, name: str) -> str:
    """Make an API token of that name, store its hash, and return the secret: it is shown once."""

    async def create(store: postgres.Postgres) -> str:
        secret, token = auth.new_token(name)
        await store.store.add_token(token)
        return secret

    return _with_store(settings, create)


def list_tokens(settings: Settings) -> list[ports.Token]:
    """Return all API tokens, newest first, without their secrets."""
    return _with_store(settings, lambda pg: pg.store.list_tokens())


def revoke_token(settings: Settings, name: str) -> int:
    """Revoke the API tokens of that name; return how many there were."""
    return _with_store(settings, lambda pg: pg.store.revoke_token(name))


def doctor(settings: Settings, components: Sequence[str] = ()) -> list[Finding]:
    """Return what is found well and wrong with what these components (all of them when none is named) need.

    Raises:
        ConfigurationError: an unknown component.
    """
    everything = all_components(settings)
    _refuse_unknown(components, everything)
    return lifetime.run_to_end(_examine(settings, components or everything))


async def _examine(settings: Settings, components: Sequence[str]) -> list[Finding]:
    found = [ok("settings", f"{len(changed(settings))} are not the default")]
    try:
        rulefile.load(settings.failure_rules)
    except ConfigurationError as error:
        found.append(fail("failure rules", str(error), "correct the file, or unset KJR_FAILURE_RULES"))
    url = settings.database_url or postgres.embedded.running_url(settings.data_dir)
    if url is None:
        remedy = "set KJR_DATABASE_URL, or start `kjr up` first"
        found.append(warn("database", "the embedded PostgreSQL does not run", remedy))
    else:
        found += await postgres.examine(url)
    if settings.cluster != "kubernetes":
        found.append(ok("cluster", f"jobs are {settings.cluster}: no Kubernetes is needed"))
    elif set(components) - _STORE_ONLY:
        found += await _examine_cluster(settings, sorted(set(components) - _STORE_ONLY))
    found.append(await _examine_logs(settings))
    return found


async def _examine_cluster(settings: Settings, components: Sequence[str]) -> list[Finding]:
    from kube_job_runner.adapters import kubernetes

    try:
        cluster = await kubernetes.connect(settings, kubernetes_environment(os.environ))
    except ConfigurationError as error:
        return [fail("cluster", str(error), "set KJR_KUBECONFIG, or KJR_CLUSTER=local for jobs as processes here")]
    try:
        return await cluster.examine(components)
    finally:
        await cluster.close()


async def _examine_logs(settings: Settings) -> Finding:
    if settings.log_store == "postgres":
        return ok("log store", "PostgreSQL, as above")
    from kube_job_runner.adapters import objectstore

    try:
        objectstore.connect(settings.log_store, endpoint=settings.log_store_endpoint, region=settings.log_store_region)
    except Exception as error:  # noqa: BLE001 - a diagnosis tells what is wrong, whatever it is
        return fail("log store", str(error), "check KJR_LOG_STORE, its endpoint and region, and the extra s3")
    return ok("log store", f"{settings.log_store} is configured; it is not written to here")


# --- Builders ---------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _database(settings: Settings) -> Any:
    if settings.database_url is not None:
        yield settings.database_url
        return
    server = postgres.embedded.start(settings.data_dir)
    try:
        yield server.url
    finally:
        server.stop()


def _with_store(settings: Settings, call: Callable[[postgres.Postgres], Awaitable[_T]]) -> _T:
    async def run(url: str) -> _T:
        pg = await postgres.connect(url, pool_size=2)
        try:
            return await call(pg)
        finally:
            await pg.close()

    url = settings.database_url or postgres.embedded.running_url(settings.data_dir)
    if url is not None:
        return lifetime.run_to_end(run(url))
    with _database(settings) as started_url:
        lifetime.run_to_end(postgres.migrate(started_url))
        return lifetime.run_to_end(run(started_url))


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


def queue_address(settings: Settings) -> Any:
    """Return the `Address` of the queue outside the database, or None when the database is the queue.

    Raises:
        ConfigurationError: KJR_QUEUE cannot be read.
    """
    if settings.queue == "postgres":
        return None
    from kube_job_runner.adapters.sqs import address

    return address.parse(
        settings.queue,
        region=settings.queue_region,
        endpoint=settings.queue_endpoint,
        default_region=aws_region(),
    )


def _sqs(module: Literal["admin", "queue"]) -> Any:
    """Import a part of the SQS adapter.

    Raises:
        ConfigurationError: its library is not installed.
    """
    try:
        return importlib.import_module(f"kube_job_runner.adapters.sqs.{module}")
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"KJR_QUEUE names an SQS queue, which needs the extra `sqs`: pip install 'kube-job-runner[sqs]' ({error})"
        ) from error


@contextlib.asynccontextmanager
async def _queue(
    settings: Settings, pg: postgres.Postgres, components: Sequence[str], *, stop: asyncio.Event
) -> AsyncIterator[Any]:
    """The queue of these components. Those that only write to the database have its outbox for one."""
    address = queue_address(settings)
    if address is None or set(components) <= _NO_QUEUE:
        yield pg.queue
        return
    async with _sqs("queue").connect(address, stop=stop, wait_seconds=_SCHEMA_WAIT_SECONDS) as queue:
        yield queue


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
        store=pg.store,
        queue=queue,
        cluster=cluster,
        clock=clock,
        rules=Rules(
            graces=rulefile.graces(settings),
            table=rulefile.load(settings.failure_rules),
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
    return Observer(kind=kind, events=watches[kind](), store=pg.store, queue=pg.queue, clock=clock, nodes=nodes)


def build_sweeper(settings: Settings, pg: postgres.Postgres | postgres.Fenced, clock: ports.Clock) -> Sweeper:
    """Return the service of the sweeper."""
    return Sweeper(
        store=pg.store,
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
        store=pg.store,
        cluster=cluster,
        queue=pg.queue,
        clock=clock,
        settings=ReconcileSettings(orphan_grace_seconds=settings.orphan_grace_seconds),
    )


def build_leadership(settings: Settings, component: str, pg: postgres.Postgres) -> leadership.Leadership:
    """Return this process's part in the lease of a component."""
    holder = f"{socket.gethostname()}/{os.getpid()}"
    return leadership.Leadership(component, pg.leases, holder=holder, lease_seconds=settings.leader_lease_seconds)


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
    leaders: Mapping[str, leadership.Leadership],
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
    health = pg.store if queue is pg.queue else QueueHealth(pg.store, queue)
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
    return web_server.build_app(
        readiness=readiness,
        settings=settings,
        submit_store=pg.store,
        reader=pg.store,
        tokens=pg.store,
        health=pg.store,
        wakeup=pg.wakeup,
        logs=build_logs(settings, pg),
        clock=clock,
        admission=admission_limits(settings),
        tracer=tracer,
    )


@contextlib.asynccontextmanager
async def tracing(components: Collection[str]) -> AsyncIterator[TracerOf]:
    """Yield what gives each component its tracer, or None where the environment does not ask for traces, or cannot have them.

    Without traces nothing of OpenTelemetry is imported. At the end what was recorded is sent.
    """
    pipeline = _trace_pipeline() if tracing_wanted() and not _TRACED.isdisjoint(components) else None
    if pipeline is None:
        yield lambda _: None
        return
    try:
        yield pipeline.tracer
    finally:
        await asyncio.to_thread(pipeline.close)


def _trace_pipeline() -> Any:
    if (protocol := tracing_protocol()) != "http/protobuf":
        hint = "set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf, and the port of OTLP over HTTP (4318)"
        log.warning("no traces: this OTLP protocol is not supported", action="trace.off", protocol=protocol, hint=hint)
        return None
    try:
        otel = importlib.import_module("kube_job_runner.adapters.otel")
        return otel.Tracing()
    except ImportError as error:
        hint = "pip install 'kube-job-runner[otel]'"
        log.warning("no traces: the extra is missing", action="trace.off", error=str(error), hint=hint)
    except Exception as error:  # noqa: BLE001 - a wrong OTEL_* value must not keep jobs from running
        log.warning("no traces: an OTEL_* variable does not fit", action="trace.off", error=str(error))
    return None


# --- Running ----------------------------------------------------------------------------------------------------------


async def _up(settings: Settings, url: str, on_ready: OnReady) -> int:
    await postgres.migrate(url)
    pg = await postgres.connect(url, pool_size=2)
    try:
        token = ""
        if settings.auth == "token":
            token, row = auth.local_token(settings.data_dir, _LOCAL_TOKEN_NAME)
            await pg.store.add_token(row)
    finally:
        await pg.close()

    def ready(web_url: str) -> None:
        auth.write_connection(settings.data_dir, web_url, token)
        on_ready(web_url, token)

    return await _serve(settings, url, all_components(settings), on_ready=ready)


async def _serve(
    settings: Settings, url: str, components: Sequence[str], *, on_ready: Callable[[str], None] | None
) -> int:
    stop = asyncio.Event()
    lifetime.handle_signals(stop)
    telemetry.build_info.labels(__version__).set(1)
    telemetry.queue_label.keep(["default", *settings.queue_limits])
    if "web-server" in components:
        web_server.check_exposure(settings)
        if await postgres.may_migrate(url):
            await postgres.migrate(url)
    clock = SystemClock()
    async with (
        tracing(components) as tracer_of,
        _connections(settings, url, components, clock, stop=stop) as (pg, cluster),
        _queue(settings, pg, components, stop=stop) as queue,
    ):
        leaders = {name: build_leadership(settings, name, pg) for name in components if name in LED}
        readiness = build_readiness(
            settings, components, pg, clock, queue=queue, leaders=leaders, notes=lambda: _notes(leaders, cluster)
        )
        tasks = _component_tasks(
            settings,
            components,
            pg,
            cluster,
            clock,
            queue=queue,
            stop=stop,
            on_ready=on_ready,
            readiness=readiness,
            leaders=leaders,
            tracer_of=tracer_of,
        )
        beside = []
        if "web-server" not in components and settings.metrics_port >= 0:
            beside.append(probes.run(readiness, host=settings.host, port=settings.metrics_port, stop=stop))
        return await lifetime.supervise(tasks, stop=stop, drain_seconds=settings.drain_seconds, beside=beside)


@contextlib.asynccontextmanager
async def _connections(
    settings: Settings, url: str, components: Sequence[str], clock: ports.Clock, *, stop: asyncio.Event
) -> AsyncIterator[tuple[postgres.Postgres, ports.Cluster | None]]:
    pg = await postgres.connect(url, pool_size=4 + 2 * len(components) + settings.pipelines)
    try:
        await _wait_for_schema(pg, components, stop, role_prefix=settings.database_role_prefix)
        if set(components) <= _STORE_ONLY:
            yield pg, None
            return
        installation = "" if stop.is_set() else await pg.store.installation_id()
        cluster = await build_cluster(settings, clock, installation=installation)
        try:
            yield pg, cluster
        finally:
            await cluster.close()
    finally:
        await pg.close()


def _component_tasks(
    settings: Settings,
    components: Sequence[str],
    pg: postgres.Postgres,
    cluster: ports.Cluster | None,
    clock: ports.Clock,
    *,
    queue: Any,
    stop: asyncio.Event,
    on_ready: Callable[[str], None] | None,
    readiness: Readiness,
    leaders: Mapping[str, leadership.Leadership],
    tracer_of: TracerOf,
) -> dict[str, Coroutine[Any, Any, None]]:
    tasks: dict[str, Coroutine[Any, Any, None]] = {}

    def web_ready(web_url: str) -> None:
        log.info("listening", url=web_url)
        if on_ready is not None:
            on_ready(web_url)

    for name in components:
        if name == "web-server":
            app = build_web(settings, pg, clock, readiness=readiness, tracer=tracer_of(name))
            tasks[name] = web_server.run(app, settings, stop, web_ready)
            continue
        if name == RELAY:
            tasks[name] = outbox_relay.run(
                build_relay(pg, queue), pipelines=settings.pipelines, stop=stop, drain_seconds=settings.drain_seconds
            )
            continue
        assert cluster is not None  # only the web server and the relay go without
        if name in LED:
            tasks[name] = leaders[name].run(_led_work(settings, name, pg, cluster, clock, stop=stop), stop=stop)
        elif name == "log-collector":
            tasks[name] = log_collector.run(
                build_collector(settings, pg, cluster, clock, tracer=tracer_of(name)), stop=stop
            )
        else:
            processor = build_processor(settings, pg, cluster, clock, queue=queue, tracer=tracer_of(name))
            tasks[name] = messages_processor.run(
                processor, pipelines=settings.pipelines, stop=stop, drain_seconds=settings.drain_seconds
            )
    return tasks


def _notes(leaders: Mapping[str, leadership.Leadership], cluster: ports.Cluster | None) -> dict[str, str]:
    """Return what /readyz tells beside the checks: who leads, and which namespaces cannot be watched."""
    troubles = {} if cluster is None else cluster.troubles()
    return {
        **{name: leader.standing for name, leader in leaders.items()},
        **{f"namespace {name}": f"degraded: {why}" for name, why in sorted(troubles.items())},
    }


def _led_work(
    settings: Settings,
    name: str,
    pg: postgres.Postgres,
    cluster: ports.Cluster,
    clock: ports.Clock,
    *,
    stop: asyncio.Event,
) -> leadership.Work:
    """Return what a component does in one term as the leader: everything is built anew, and writes with the term's fence."""

    def sweep(fence: ports.Fence) -> Coroutine[Any, Any, None]:
        fenced = pg.fenced(fence)
        return sweeper.run(
            build_sweeper(settings, fenced, clock),
            interval_seconds=settings.sweep_seconds,
            stop=stop,
            reconciler=build_reconciler(settings, fenced, cluster, clock),
            reconcile_seconds=settings.reconcile_seconds,
            depth=DepthMeter(pg.store),
        )

    def watch_jobs(fence: ports.Fence) -> Coroutine[Any, Any, None]:
        telemetry.watch_heard.beat("job")  # its age counts from now: another process heard what came before
        return watchers.run(build_observer("job", pg.fenced(fence), cluster, clock), stop=stop)

    def watch_pods(fence: ports.Fence) -> Coroutine[Any, Any, None]:
        fenced = pg.fenced(fence)
        telemetry.watch_heard.beat("pod")
        text = functools.partial(build_observer, "event", fenced, cluster, clock)
        return watchers.run(build_observer("pod", fenced, cluster, clock), stop=stop, text=text)

    return {"sweeper": sweep, "job-status-processor": watch_jobs, "pod-events-processor": watch_pods}[name]


async def _wait_for_schema(
    pg: postgres.Postgres, components: Sequence[str], stop: asyncio.Event, *, role_prefix: str
) -> None:
    """Wait until the owner of the tables has brought the schema to this program's version, and granted us what we need."""
    began = time.monotonic()
    told: set[str] = set()
    while not stop.is_set():
        lacking = await _lacking_rights(pg, components, role_prefix)
        wrong = lacking or (await pg.store.check()).get("schema")
        if wrong is None:
            return
        if wrong not in told:
            told.add(wrong)
            log.warning("waiting for the database", wrong=wrong, hint="`kjr migrate` brings it up")
        patience_seconds = _RIGHTS_WAIT_SECONDS if lacking else _SCHEMA_WAIT_SECONDS
        if time.monotonic() - began > patience_seconds:
            raise ConfigurationError(lacking or f"the database's schema does not fit: {wrong}; run `kjr migrate`")
        await asyncio.sleep(0.5)


async def _lacking_rights(pg: postgres.Postgres, components: Sequence[str], role_prefix: str) -> str | None:
    try:
        return await pg.lacking_rights(components, role_prefix=role_prefix)
    except TemporaryError:  # the check of the schema says what is wrong with the database
        return None


def _run(settings: Settings, work: Coroutine[Any, Any, int]) -> int:
    telemetry.configure(log_format=settings.log_format, log_level=settings.log_level, secrets=secrets(settings))
    for name in unknown_variables():
        log.warning(
            "unknown setting", action="process.start", variable=name, hint=f"see `kjr config`{suggestion(name)}"
        )
    log.info("starting", action="process.start", version=__version__, settings=changed(settings))
    return lifetime.run_to_end(work)
