"""The web application: the API with the use cases behind it, built from ports."""

from typing import Any
from uuid import UUID

from starlette.types import Receive, Scope, Send

import kube_job_runner
from kube_job_runner.domain import failures
from kube_job_runner.domain.failures import Table
from kube_job_runner.domain.limits import DEFAULT_ADMISSION, AdmissionLimits
from kube_job_runner.ports import (
    Clock,
    Health,
    LogKey,
    LogReader,
    SubmitStore,
    TokenStore,
    Tracer,
    Wakeup,
    WebReader,
)
from kube_job_runner.services.change_hub import ChangeHub
from kube_job_runner.services.explainer import Explainer, LastLines
from kube_job_runner.services.intake import Intake, Submitter
from kube_job_runner.services.log_reading import LogService
from kube_job_runner.services.readiness import Readiness
from kube_job_runner.services.simulator import Simulator
from kube_job_runner.settings import Settings
from kube_job_runner.telemetry import metrics
from kube_job_runner.web import auth
from kube_job_runner.web.api import endpoints, problem_types, submit_job
from kube_job_runner.web.api.api_document import ApiDocument
from kube_job_runner.web.api.endpoints import Parts
from kube_job_runner.web.kit.asgi import App, Limits

_HEADERS = (
    (b"x-kjr-version", kube_job_runner.__version__.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"referrer-policy", b"no-referrer"),
)


class WebApp:
    """The ASGI application, and its parts that must be closed when the server stops."""

    def __init__(self, app: App, *, submitter: Submitter, hub: ChangeHub[UUID], log_hub: ChangeHub[LogKey]) -> None:
        self.app = app
        self._submitter = submitter
        self._hub = hub
        self._log_hub = log_hub

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        await self.app(scope, receive, send)

    async def drain(self) -> None:
        """End long polls and log streams. New requests are still answered, /readyz with 503."""
        self.app.draining.set()
        await self._hub.close()
        await self._log_hub.close()

    async def close(self) -> None:
        """Wait until every accepted submit is committed or refused."""
        await self._submitter.close()


def build_app(
    *,
    settings: Settings,
    submit_store: SubmitStore,
    reader: WebReader,
    tokens: TokenStore,
    health: Health,
    wakeup: Wakeup,
    logs: LogReader,
    clock: Clock,
    admission: AdmissionLimits = DEFAULT_ADMISSION,
    table: Table = failures.TABLE,
    readiness: Readiness | None = None,
    tracer: Tracer | None = None,
) -> WebApp:
    """Return the ASGI application of the web server.

    Raises:
        ConfigurationError: authentication is off, and the address to listen on is not loopback.
    """
    auth.check_exposure(settings)
    submitter = Submitter(submit_store)
    hub: ChangeHub[UUID] = ChangeHub(reader.versions, wakeup, clock)
    log_hub: ChangeHub[LogKey] = ChangeHub(logs.log_versions, wakeup, clock, topic="logs")
    parts = Parts(
        intake=Intake(submitter, clock, default_namespace=settings.specs.default_namespace, tracer=tracer),
        specs=submit_job.spec_decoder(settings.specs),
        store=submit_store,
        reader=reader,
        hub=hub,
        logs=LogService(reader, logs, clock, hub=hub, log_hub=log_hub),
        explainer=Explainer(reader, clock, last_lines=LastLines(logs), limits=admission, table=table),
        simulator=Simulator(reader),
        readiness=readiness or Readiness(health, clock),
        clock=clock,
        admission=admission,
        wait_max_seconds=settings.web.wait_max_seconds,
    )
    document = ApiDocument()
    app = App(
        endpoints.operations(parts, document),
        limits=Limits(
            body_max_bytes=settings.web.body_max_bytes,
            body_timeout_seconds=settings.web.body_timeout_seconds,
            bodies_max_bytes=max(settings.web.bodies_max_bytes, 2 * settings.web.body_max_bytes),
        ),
        authenticate=auth.Authenticator(tokens, clock) if settings.web.auth == "token" else auth.anonymous,
        explain=problem_types.explain,
        observe=_Counters(),
        headers=_HEADERS,
        gate=auth.gate(settings.web),
    )
    metrics.build_info.labels(kube_job_runner.__version__).set(1)
    metrics.http_in_flight.set_function(lambda: app.in_flight)
    metrics.submits_waiting.set_function(lambda: submitter.waiting)
    document.describe(app.operations)
    return WebApp(app, submitter=submitter, hub=hub, log_hub=log_hub)


class _Counters:
    """Counts and times requests; the metrics of each pair of labels are looked up once."""

    def __init__(self) -> None:
        self._children: dict[tuple[str, int], tuple[Any, Any]] = {}

    def __call__(self, operation: str, status: int, seconds: float) -> None:
        key = (operation, status)
        found = self._children.get(key)
        if found is None:
            found = self._children[key] = (
                metrics.http_requests.labels(operation, str(status)),
                metrics.http_seconds.labels(operation),
            )
        found[0].inc()
        found[1].observe(seconds)
