"""A process with components: opens their connections, runs them to the end, closes what it opened."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from typing import Any

import msgspec

from kube_job_runner import __version__, ports
from kube_job_runner.adapters import postgres
from kube_job_runner.bootstrap import builders, lifetime
from kube_job_runner.bootstrap.adapter_kinds import cluster_kind, external_queue
from kube_job_runner.bootstrap.builders import Parts, SystemClock
from kube_job_runner.bootstrap.components import Component, all_components
from kube_job_runner.bootstrap.traces import tracing
from kube_job_runner.components import probes
from kube_job_runner.components.leader_loop import Leadership
from kube_job_runner.domain.errors import ConfigurationError, TemporaryError
from kube_job_runner.services.cluster_identity import IdentityCheck
from kube_job_runner.services.readiness import Readiness
from kube_job_runner.services.relay import QueueHealth
from kube_job_runner.settings import Settings, changed, secrets, suggestion, unknown_variables
from kube_job_runner.telemetry import loggers, metrics
from kube_job_runner.web import auth

log = loggers.get_logger(__name__)

_SCHEMA_WAIT_SECONDS = 120.0
_RIGHTS_WAIT_SECONDS = 20.0  # a migration and its grants are two commits
_UNLISTED = "it cannot be listed now; the log says why (action watch.retry)"
_LOCAL_TOKEN_NAME = "local"  # noqa: S105 - a name, not a secret


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """The database of a process. `keeper` keeps an embedded server running; None: somebody else runs the server."""

    url: str
    keeper: postgres.embedded.Keeper | None = None


OnReady = Callable[[str, str], None]


def run(settings: Settings, work: Coroutine[Any, Any, int]) -> int:
    """Set up the logs, log the version and the settings that are not the default, and run a process; return the exit code."""
    loggers.configure(
        log_format=settings.process.log_format, log_level=settings.process.log_level, secrets=secrets(settings)
    )
    if not cluster_kind(settings).remote:  # jobs are processes of our own user
        lifetime.hide_memory()
    for name in unknown_variables():
        log.warning(
            "unknown setting", action="process.start", variable=name, hint=f"see `kjr config`{suggestion(name)}"
        )
    log.info("starting", action="process.start", version=__version__, settings=changed(settings))
    return lifetime.run_to_end(work)


async def run_up(settings: Settings, source: Source, on_ready: OnReady) -> int:
    """Migrate the database, then run everything on it; call `on_ready(url, token)` once requests are served."""
    await postgres.migrate(source.url)
    pg = await postgres.connect(source.url, pool_size=2)
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

    return await run_components(settings, source, all_components(settings), on_ready=ready)


async def run_components(
    settings: Settings, source: Source, components: Sequence[Component], *, on_ready: Callable[[str], None] | None
) -> int:
    """Run these components until a signal, or until one of them fails; return the exit code.

    Raises:
        ConfigurationError: a component cannot run with these settings.
        Unrecoverable: the embedded server cannot be kept.
    """
    stop = asyncio.Event()
    lifetime.handle_signals(stop)
    metrics.build_info.labels(__version__).set(1)
    metrics.queue_label.keep(["default", *settings.admission.queues])
    serves = any(component.serves for component in components)
    if serves:
        auth.check_exposure(settings)
        if await postgres.may_migrate(source.url):
            await postgres.migrate(source.url)
    async with _opened(settings, source, components, stop=stop, on_ready=on_ready) as parts:
        tasks = {component.name: component.start(parts) for component in components}
        lifetime.spare_garbage_collection()
        extra = [] if source.keeper is None else [source.keeper.run()]
        if not serves and settings.process.metrics_port >= 0:
            extra.append(
                probes.run(parts.readiness, host=settings.web.host, port=settings.process.metrics_port, stop=stop)
            )
        return await lifetime.supervise(tasks, stop=stop, drain_seconds=settings.process.drain_seconds, extra=extra)


@contextlib.asynccontextmanager
async def _opened(
    settings: Settings,
    source: Source,
    components: Sequence[Component],
    *,
    stop: asyncio.Event,
    on_ready: Callable[[str], None] | None,
) -> AsyncIterator[Parts]:
    """Open what these components need, and close it at the end."""
    clock = SystemClock()
    async with contextlib.AsyncExitStack() as stack:
        tracer_of = await stack.enter_async_context(tracing(components))
        pg = await postgres.connect(source.url, pool_size=4 + 2 * len(components) + settings.batches.pipelines)
        stack.push_async_callback(pg.close)
        await _wait_for_schema(settings, pg, components, stop=stop)
        cluster: ports.Cluster | None = None
        if any(component.cluster for component in components):
            installation = "" if stop.is_set() else await pg.reconcile_store.installation_id()
            cluster = await cluster_kind(settings).open(settings, clock, installation)
            stack.push_async_callback(cluster.close)
            await _check_cluster(cluster, pg, clock)
        sink: ports.OpenQueue | None = None
        outside = external_queue(settings.queue)
        if outside is not None and any(component.queue for component in components):
            sink = await stack.enter_async_context(outside.open(stop=stop, wait_seconds=_SCHEMA_WAIT_SECONDS))
        leaders = {
            component.name: builders.leadership(settings, component.name, pg.leases)
            for component in components
            if component.lead is not None
        }
        probes_of = {
            name: probe
            for component in components
            for name, probe in component.probes(settings, clock, leaders).items()
        }
        yield Parts(
            settings=settings,
            pg=pg,
            opened_cluster=cluster,
            sink=sink,
            clock=clock,
            stop=stop,
            leaders=leaders,
            readiness=Readiness(
                _health(source, pg, sink),
                clock,
                probes_of,
                notes=lambda: _notes(leaders, cluster),
                advisory=any(component.serves for component in components),
            ),
            tracer_of=tracer_of,
            on_ready=on_ready,
        )


def _health(source: Source, pg: postgres.Postgres, sink: ports.OpenQueue | None) -> ports.Health:
    health: ports.Health = pg.health
    if source.keeper is not None:
        health = postgres.embedded.KeptHealth(health, source.keeper)
    return health if sink is None else QueueHealth(health, sink)


async def _check_cluster(cluster: ports.Cluster, pg: postgres.Postgres, clock: ports.Clock) -> None:
    """Check that this is the cluster of the database. While it cannot be reached, each component checks before its first use.

    Raises:
        WrongCluster: it is another cluster.
    """
    try:
        await IdentityCheck(cluster, pg.bound_cluster, clock).check()
    except TemporaryError as error:
        log.warning("the cluster was not identified; trying later", action="cluster.identity", error=str(error))


def _notes(leaders: Mapping[str, Leadership], cluster: ports.Cluster | None) -> dict[str, str]:
    """Return the other lines of /readyz: who leads, and which namespaces cannot be watched.

    Everybody may read them, so the cluster's own words stay in the log.
    """
    troubles = {} if cluster is None else cluster.troubles()
    return {
        **{name: leader.standing for name, leader in leaders.items()},
        **{f"namespace {name}": f"degraded: {_UNLISTED}" for name in sorted(troubles)},
    }


async def _wait_for_schema(
    settings: Settings, pg: postgres.Postgres, components: Sequence[Component], *, stop: asyncio.Event
) -> None:
    """Wait until the schema has this program's version and our role has the rights of these components.

    Raises:
        ConfigurationError: it takes longer than the owner of the tables may need.
    """
    began = time.monotonic()
    logged: set[str] = set()
    while not stop.is_set():
        lacking = await _lacking_rights(settings, pg, components)
        wrong = lacking or (await pg.health.check()).get("schema")
        if wrong is None:
            return
        if wrong not in logged:
            logged.add(wrong)
            log.warning("waiting for the database", action="database.wait", wrong=wrong, hint="run `kjr migrate`")
        patience_seconds = _RIGHTS_WAIT_SECONDS if lacking else _SCHEMA_WAIT_SECONDS
        if time.monotonic() - began > patience_seconds:
            raise ConfigurationError(lacking or f"the database schema does not match: {wrong}; run `kjr migrate`")
        await asyncio.sleep(0.5)


async def _lacking_rights(settings: Settings, pg: postgres.Postgres, components: Sequence[Component]) -> str | None:
    names = [component.name for component in components]
    try:
        return await pg.lacking_rights(names, role_prefix=settings.database.role_prefix)
    except TemporaryError:  # the check of the schema says what is wrong with the database
        return None
