"""A process with some of the components, from its connections to its end."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from typing import Any

from kube_job_runner import __version__, ports
from kube_job_runner.adapters import postgres
from kube_job_runner.bootstrap import builders
from kube_job_runner.bootstrap.components import LED, NO_QUEUE, RELAY, STORE_ONLY, all_components
from kube_job_runner.bootstrap.queue_schemes import queue_address, sqs_module
from kube_job_runner.bootstrap.traces import TracerOf, tracing
from kube_job_runner.components import (
    leader_loop,
    lifetime,
    log_collector,
    loops,
    messages_processor,
    outbox_relay,
    probes,
    sweeper,
    watchers,
    web_server,
)
from kube_job_runner.domain.errors import ConfigurationError, TemporaryError
from kube_job_runner.services.readiness import DepthMeter, Readiness
from kube_job_runner.settings import Settings, changed, secrets, suggestion, unknown_variables
from kube_job_runner.telemetry import loggers, metrics
from kube_job_runner.web import auth

log = loggers.get_logger(__name__)

_SCHEMA_WAIT_SECONDS = 120.0
_RIGHTS_WAIT_SECONDS = 20.0  # a migration and its grants are two commits
_SYNC_SECONDS = 30.0
_LOCAL_TOKEN_NAME = "local"  # noqa: S105 - a name, not a secret

OnReady = Callable[[str, str], None]


def run(settings: Settings, work: Coroutine[Any, Any, int]) -> int:
    """Run a process to its end, with its logs set up and what it was started with told; return the exit code."""
    loggers.configure(
        log_format=settings.process.log_format, log_level=settings.process.log_level, secrets=secrets(settings)
    )
    for name in unknown_variables():
        log.warning(
            "unknown setting", action="process.start", variable=name, hint=f"see `kjr config`{suggestion(name)}"
        )
    log.info("starting", action="process.start", version=__version__, settings=changed(settings))
    return lifetime.run_to_end(work)


async def run_up(settings: Settings, url: str, on_ready: OnReady) -> int:
    """Run everything on a database of our own, which is migrated first; `on_ready(url, token)` is told where."""
    await postgres.migrate(url)
    pg = await postgres.connect(url, pool_size=2)
    try:
        token = ""
        if settings.web.auth == "token":
            token, row = auth.local_token(settings.process.data_dir, _LOCAL_TOKEN_NAME)
            await pg.token_store.add_token(row)
    finally:
        await pg.close()

    def ready(web_url: str) -> None:
        auth.write_connection(settings.process.data_dir, web_url, token)
        on_ready(web_url, token)

    return await run_components(settings, url, all_components(settings), on_ready=ready)


async def run_components(
    settings: Settings, url: str, components: Sequence[str], *, on_ready: Callable[[str], None] | None
) -> int:
    """Run these components until a signal, or until one of them fails; return the exit code."""
    stop = asyncio.Event()
    lifetime.handle_signals(stop)
    metrics.build_info.labels(__version__).set(1)
    metrics.queue_label.keep(["default", *settings.admission.queues])
    if "web-server" in components:
        auth.check_exposure(settings)
        if await postgres.may_migrate(url):
            await postgres.migrate(url)
    clock = builders.SystemClock()
    async with (
        tracing(components) as tracer_of,
        _connections(settings, url, components, clock, stop=stop) as (pg, cluster),
        _queue(settings, pg, components, stop=stop) as queue,
    ):
        leaders = {name: builders.build_leadership(settings, name, pg) for name in components if name in LED}
        readiness = builders.build_readiness(
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
        lifetime.spare_garbage_collection()
        beside = []
        if "web-server" not in components and settings.process.metrics_port >= 0:
            beside.append(probes.run(readiness, host=settings.web.host, port=settings.process.metrics_port, stop=stop))
        return await lifetime.supervise(tasks, stop=stop, drain_seconds=settings.process.drain_seconds, beside=beside)


@contextlib.asynccontextmanager
async def _connections(
    settings: Settings, url: str, components: Sequence[str], clock: ports.Clock, *, stop: asyncio.Event
) -> AsyncIterator[tuple[postgres.Postgres, ports.Cluster | None]]:
    pg = await postgres.connect(url, pool_size=4 + 2 * len(components) + settings.batches.pipelines)
    try:
        await _wait_for_schema(pg, components, stop, role_prefix=settings.database.role_prefix)
        if set(components) <= STORE_ONLY:
            yield pg, None
            return
        installation = "" if stop.is_set() else await pg.reconcile_store.installation_id()
        cluster = await builders.build_cluster(settings, clock, installation=installation)
        try:
            yield pg, cluster
        finally:
            await cluster.close()
    finally:
        await pg.close()


@contextlib.asynccontextmanager
async def _queue(
    settings: Settings, pg: postgres.Postgres, components: Sequence[str], *, stop: asyncio.Event
) -> AsyncIterator[Any]:
    """The queue of these components. Those that only write to the database have its outbox for one."""
    address = queue_address(settings)
    if address is None or set(components) <= NO_QUEUE:
        yield pg.queue
        return
    async with sqs_module("message_queue").connect(
        address, receive_seconds=settings.queue.wait_seconds, stop=stop, wait_seconds=_SCHEMA_WAIT_SECONDS
    ) as queue:
        yield queue


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
    leaders: Mapping[str, leader_loop.Leadership],
    tracer_of: TracerOf,
) -> dict[str, Coroutine[Any, Any, None]]:
    tasks: dict[str, Coroutine[Any, Any, None]] = {}

    def web_ready(web_url: str) -> None:
        log.info("listening", url=web_url)
        if on_ready is not None:
            on_ready(web_url)

    for name in components:
        if name == "web-server":
            database_clock = pg.clock()  # what is submitted must not be dated by a machine's own
            app = builders.build_web(settings, pg, database_clock, readiness=readiness, tracer=tracer_of(name))
            serving = web_server.run(app, settings, stop, web_ready)
            tasks[name] = _by_the_clock(database_clock, serving, stop=stop)
            continue
        if name == RELAY:
            tasks[name] = outbox_relay.run(
                builders.build_relay(pg, queue),
                pipelines=settings.batches.pipelines,
                stop=stop,
                drain_seconds=settings.process.drain_seconds,
            )
            continue
        assert cluster is not None  # only the web server and the relay go without
        if name in LED:
            tasks[name] = leaders[name].run(_led_work(settings, name, pg, cluster, clock, stop=stop), stop=stop)
        elif name == "log-collector":
            tasks[name] = log_collector.run(
                builders.build_collector(settings, pg, cluster, clock, tracer=tracer_of(name)), stop=stop
            )
        else:
            processor = builders.build_processor(settings, pg, cluster, clock, queue=queue, tracer=tracer_of(name))
            tasks[name] = messages_processor.run(
                processor, pipelines=settings.batches.pipelines, stop=stop, drain_seconds=settings.process.drain_seconds
            )
    return tasks


async def _by_the_clock(clock: postgres.DatabaseClock, work: Coroutine[Any, Any, None], *, stop: asyncio.Event) -> None:
    """Run `work` with a clock that was synchronised before and is so again and again."""

    async def keep() -> None:
        while not stop.is_set():
            await loops.sleep_unless_stopped(_SYNC_SECONDS, stop)
            await sync()

    async def sync() -> None:
        with contextlib.suppress(TemporaryError):  # what was said last still goes on
            await clock.sync()

    await sync()
    await loops.run_beside(work, keep())


def _notes(leaders: Mapping[str, leader_loop.Leadership], cluster: ports.Cluster | None) -> dict[str, str]:
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
) -> leader_loop.Work:
    """Return what a component does in one term as the leader: everything is built anew, and writes with the term's fence."""

    def sweep(fence: ports.Fence) -> Coroutine[Any, Any, None]:
        fenced = pg.fenced(fence)
        return sweeper.run(
            builders.build_sweeper(settings, fenced, clock),
            interval_seconds=settings.sweep.sweep_seconds,
            stop=stop,
            reconciler=builders.build_reconciler(settings, fenced, cluster, clock),
            reconcile_seconds=settings.sweep.reconcile_seconds,
            depth=DepthMeter(pg.health),
        )

    def watch_jobs(fence: ports.Fence) -> Coroutine[Any, Any, None]:
        metrics.watch_heard.beat("job")  # its age counts from now: another process heard what came before
        return watchers.run(builders.build_observer("job", pg.fenced(fence), cluster, clock), stop=stop)

    def watch_pods(fence: ports.Fence) -> Coroutine[Any, Any, None]:
        fenced = pg.fenced(fence)
        metrics.watch_heard.beat("pod")
        text = functools.partial(builders.build_observer, "event", fenced, cluster, clock)
        return watchers.run(builders.build_observer("pod", fenced, cluster, clock), stop=stop, text=text)

    return {"sweeper": sweep, "job-status-processor": watch_jobs, "pod-events-processor": watch_pods}[name]


async def _wait_for_schema(
    pg: postgres.Postgres, components: Sequence[str], stop: asyncio.Event, *, role_prefix: str
) -> None:
    """Wait until the owner of the tables has brought the schema to this program's version, and granted us what we need."""
    began = time.monotonic()
    told: set[str] = set()
    while not stop.is_set():
        lacking = await _lacking_rights(pg, components, role_prefix)
        wrong = lacking or (await pg.health.check()).get("schema")
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
