"""The functions behind the commands of the server: `kjr up`, `serve`, `migrate`, `queue`, `token`, `rebind` and `doctor`."""

import contextlib
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import TypeVar

from kube_job_runner import ports
from kube_job_runner.adapters import postgres
from kube_job_runner.bootstrap import lifetime, relocating, rules
from kube_job_runner.bootstrap.adapter_kinds import cluster_kind, external_queue
from kube_job_runner.bootstrap.components import all_components, named
from kube_job_runner.bootstrap.doctor_checks import run_checks
from kube_job_runner.bootstrap.running import OnReady, Source, run, run_components, run_up
from kube_job_runner.domain.errors import ConfigurationError
from kube_job_runner.ports.checks import CheckResult
from kube_job_runner.settings import Settings
from kube_job_runner.web import auth

_T = TypeVar("_T")


def up(settings: Settings, *, on_ready: OnReady) -> int:
    """Run everything in one process: embedded PostgreSQL unless a URL is set, migrations, all components.

    `on_ready(url, token)` is called once requests are served. Returns the exit code; blocks until a signal.

    Raises:
        ConfigurationError: the data directory is in use, or a setting or a failure rule is invalid.
    """
    rules.load(settings.process.failure_rules)  # a wrong rule stops the start before anything is opened
    with database(settings) as source:
        return run(settings, run_up(settings, source, on_ready))


def serve(settings: Settings, components: Sequence[str]) -> int:
    """Run these components (all of them when none is named) in this process until a signal; return the exit code.

    Raises:
        ConfigurationError: an unknown component, or an invalid setting.
    """
    everything = {row.name for row in all_components(settings)}
    chosen = named(components, settings)
    names = {row.name for row in chosen}
    if absent := ", ".join(sorted(names - everything)):
        raise ConfigurationError(
            f"{absent}: nothing to relay, the queue is in PostgreSQL (KJR_QUEUE); leave it out, or set KJR_QUEUE=sqs://NAME"
        )
    if not cluster_kind(settings).remote and names != everything:
        raise ConfigurationError(
            f"the {settings.cluster.kind} cluster lives in one process: run all components together,"
            " or set KJR_CLUSTER=kubernetes"
        )
    if settings.database.url is None and names != everything:
        raise ConfigurationError("KJR_DATABASE_URL: must be set when components run apart")
    rules.load(settings.process.failure_rules)
    with database(settings) as source:
        return run(settings, run_components(settings, source, chosen, on_ready=None))


def init_queue(settings: Settings) -> list[str] | None:
    """Make the queue outside the database and its dead-letter queue; return what was done, None when the database is the queue.

    Raises:
        ConfigurationError: it cannot be made.
    """
    queue, batches = external_queue(settings.queue), settings.batches
    if queue is None:
        return None
    return lifetime.run_to_end(queue.init(lease_seconds=batches.lease_seconds, max_deliveries=batches.max_deliveries))


def check_queue(settings: Settings) -> tuple[list[str], ports.QueueCounts] | None:
    """Return what is wrong with the queue outside the database, and its depth; None when the database is the queue.

    Raises:
        ConfigurationError: it does not answer.
    """
    queue = external_queue(settings.queue)
    if queue is None:
        return None
    return lifetime.run_to_end(queue.check(max_deliveries=settings.batches.max_deliveries))


def migrate(settings: Settings) -> list[str]:
    """Bring the schema of the database up to this version; return the names of the applied migrations."""
    with database(settings) as source:
        return lifetime.run_to_end(postgres.migrate(source.url))


def grant_roles(settings: Settings) -> list[str]:
    """Create the roles of the components in a migrated database and grant their rights; return their names."""
    with database(settings) as source:
        return lifetime.run_to_end(postgres.roles.grant(source.url, prefix=settings.database.role_prefix))


def roles_script(settings: Settings) -> str:
    """Return the SQL of `grant_roles`, for an administrator to run."""
    return postgres.roles.script(settings.database.role_prefix)


def create_token(settings: Settings, name: str) -> str:
    """Create an API token, store its hash, and return the secret, which is shown only once."""

    async def create(store: postgres.Postgres) -> str:
        secret, token = auth.new_token(name)
        await store.token_store.add_token(token)
        return secret

    return _with_store(settings, create)


def list_tokens(settings: Settings) -> list[ports.Token]:
    """Return all API tokens, newest first, without their secrets."""
    return _with_store(settings, lambda pg: pg.token_store.list_tokens())


def revoke_token(settings: Settings, name: str) -> int:
    """Revoke the API tokens of that name; return how many there were."""
    return _with_store(settings, lambda pg: pg.token_store.revoke_token(name))


def doctor(settings: Settings, components: Sequence[str] = ()) -> list[CheckResult]:
    """Check everything that these components (all of them when none is named) need; return the results.

    Raises:
        ConfigurationError: an unknown component.
    """
    return lifetime.run_to_end(run_checks(settings, named(components, settings)))


def rebind(settings: Settings, confirm: Callable[[relocating.Move], bool]) -> int | None:
    """Move the database to the cluster of the settings, if it belongs to another one and `confirm(move)` agrees.

    Returns how many jobs were ended; None when nothing was changed.

    Raises:
        ConfigurationError: the cluster cannot be identified, or an invalid setting.
    """

    async def run(pg: postgres.Postgres) -> int | None:
        move = await relocating.plan(settings, pg)
        return await relocating.accept(pg, move) if confirm(move) else None

    return _with_store(settings, run)


@contextlib.contextmanager
def database(settings: Settings) -> Iterator[Source]:
    """Yield the database: the one that is set, or an embedded server, which runs meanwhile."""
    if settings.database.url is not None:
        yield Source(url=settings.database.url)
        return
    server = postgres.embedded.start(settings.process.data_dir)
    try:
        yield Source(url=server.url, keeper=postgres.embedded.Keeper(server))
    finally:
        server.stop()


def _with_store(settings: Settings, call: Callable[[postgres.Postgres], Awaitable[_T]]) -> _T:
    async def run(url: str) -> _T:
        pg = await postgres.connect(url, pool_size=2)
        try:
            return await call(pg)
        finally:
            await pg.close()

    url = settings.database.url or postgres.embedded.running_url(settings.process.data_dir)
    if url is not None:
        return lifetime.run_to_end(run(url))
    with database(settings) as source:
        lifetime.run_to_end(postgres.migrate(source.url))
        return lifetime.run_to_end(run(source.url))
