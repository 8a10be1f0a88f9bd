"""Settings: frozen, grouped, validated; this module is the only reader of the environment.

Every setting has one name, `KJR_<NAME>`, one default and one line of meaning here; the reference page is made from it.
Precedence: command-line flag, environment, default.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import unquote, urlsplit

import msgspec
from msgspec import Meta

PREFIX = "KJR_"
_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


class SettingsError(ValueError):
    """A setting is wrong; the message names the variable, its limit and the remedy."""


def _cache_home() -> Path:
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All settings of all components. A component reads those that concern it; the rest are harmless to it."""

    # Where things are
    database_url: str | None = None
    """PostgreSQL URL (`postgresql://user:password@host:5432/name`). None starts the embedded PostgreSQL in the data directory."""
    database_role_prefix: Annotated[str, Meta(pattern=r"^[a-z_][a-z0-9_]{0,30}$")] = "kjr_"
    """What the names of the components' roles in PostgreSQL begin with; `kjr migrate --roles` makes and grants them."""
    database_url_file: Path | None = None
    """File that holds that URL, as a mounted Secret does; read at start, when `KJR_DATABASE_URL` is not set."""
    data_dir: Path = msgspec.field(default_factory=lambda: _cache_home() / "kube-job-runner")
    """Folder of the embedded PostgreSQL, local job logs and the token of `kjr up`."""
    instance: Annotated[str, Meta(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")] = "default"
    """Name of this installation: the label that keeps two installations in one cluster apart."""

    # Queue
    queue: str = "postgres"
    """What carries the messages: `postgres`, or SQS: `sqs://NAME`, `sqs://ACCOUNT/NAME` or the queue's URL (extra `sqs`)."""
    queue_endpoint: str | None = None
    """URL of a service that speaks the SQS protocol, or of a VPC endpoint. None: AWS's own, or the one of the queue's URL."""
    queue_region: str | None = None
    """Region of the queue. None: the one of the queue's URL, else as the usual AWS variables and files say."""
    queue_wait_seconds: Annotated[float, Meta(ge=1, le=20)] = 5.0
    """How long a request to SQS waits for messages: longer costs fewer requests, and delays a stop by as much."""

    # Cluster
    cluster: Literal["kubernetes", "local", "simulated"] = "kubernetes"
    """What runs the jobs. `kjr up` takes `local` unless told otherwise."""
    kubeconfig: str | None = None
    """Kubeconfig file(s), separated as in KUBECONFIG. None: KUBECONFIG, then in-cluster (in a pod), then ~/.kube/config."""
    kube_context: str | None = None
    """Context of the kubeconfig. None: its current one."""
    namespaces: tuple[str, ...] = ("default",)
    """Namespaces that jobs may run in; the first is the default. Comma-separated."""
    cluster_concurrency: Annotated[int, Meta(ge=1, le=256)] = 32
    """Requests to the API server in flight at once, per process."""

    # Web server
    host: str = "127.0.0.1"
    """Address to listen on. Without authentication only loopback is accepted."""
    port: Annotated[int, Meta(ge=0, le=65535)] = 8080
    """Port to listen on; 0 takes a free one."""
    auth: Literal["token", "none"] = "token"
    """`token`: every API request needs a bearer token. `none`: no authentication, loopback only."""
    body_max_bytes: Annotated[int, Meta(ge=1024)] = 16 * 1024 * 1024
    """Largest request body."""
    body_timeout_seconds: Annotated[float, Meta(gt=0)] = 30.0
    """Longest time a client may take to send its request body."""
    wait_max_seconds: Annotated[float, Meta(gt=0)] = 60.0
    """Longest time of a long poll (`?wait=`)."""
    spec_max_bytes: Annotated[int, Meta(ge=1024)] = 256 * 1024
    """Largest encoded job spec."""
    idempotency_retention_seconds: Annotated[int, Meta(ge=60)] = 7 * 86_400
    """How long an idempotency key is remembered."""

    # Processor
    batch_size: Annotated[int, Meta(ge=1, le=1000)] = 200
    """Messages leased at once."""
    max_in_flight: Annotated[int, Meta(ge=1)] = 500
    """Jobs in the cluster at once, exactly; the rest waits in the database, most urgent first."""
    queue_max_in_flight: Annotated[int, Meta(ge=1)] | None = None
    """Jobs of one queue in the cluster at once, for queues that `KJR_QUEUE_LIMITS` does not name. None: no limit of its own."""
    queue_limits: dict[str, Annotated[int, Meta(ge=0)]] = {}
    """Limits of single queues, such as `etl=10,gpu=4`; 0 holds a queue."""
    pipelines: Annotated[int, Meta(ge=1, le=32)] = 2
    """Batches worked on at once, per process."""
    lease_seconds: Annotated[float, Meta(gt=0)] = 60.0
    """How long leased messages stay hidden; extended while a batch is worked on."""
    max_deliveries: Annotated[int, Meta(ge=1)] = 10
    """Deliveries after which a message that still raises is dead-lettered."""

    # Rules
    image_grace_seconds: Annotated[float, Meta(ge=0)] = 45.0
    """How long an image may be missing or refused before its job fails. A kubelet tries again after about 13 and 36 s."""
    config_grace_seconds: Annotated[float, Meta(ge=0)] = 60.0
    """How long a referenced Secret or ConfigMap may be missing before its job fails."""
    registry_grace_seconds: Annotated[float, Meta(ge=0)] = 300.0
    """How long a node may try to reach a registry before a new attempt, which is free, or before its job fails."""
    runtime_grace_seconds: Annotated[float, Meta(ge=0)] = 60.0
    """How long a runtime may refuse a container as it is asked for before its job fails."""
    infrastructure_grace_seconds: Annotated[float, Meta(ge=0)] = 300.0
    """How long a node, a webhook or the API server may keep a job from starting before a new attempt, which is free."""
    volume_grace_seconds: Annotated[float, Meta(ge=0)] = 600.0
    """How long a volume may be missing, or may not be mounted, before its job fails or gets a new attempt, which is free."""
    admission_grace_seconds: Annotated[float, Meta(ge=0)] = 30.0
    """How long the cluster may refuse the pod of a job, where that may change, before the job fails."""
    scheduling_grace_seconds: Annotated[float, Meta(ge=0)] = 900.0
    """How long no node may match a job before it fails. A mere lack of room is waited for up to the start timeout."""
    failure_rules: Path | None = None
    """YAML or JSON file of failure rules of your own, which come before the built-in ones. See reference/failure-rules.md."""
    evidence_grace_seconds: Annotated[float, Meta(ge=0)] = 30.0
    """How long a failed cluster job waits for the facts of its pod before it is recorded without an exit code."""
    cleanup_delay_seconds: Annotated[float, Meta(ge=0)] = 300.0
    """How long a finished cluster job stays in the cluster, so that its log can be read."""
    force_after_seconds: Annotated[float, Meta(ge=0)] = 120.0
    """How long after its stop grace a pod that will not go is left to its node; then it is removed by force."""
    job_retention_seconds: Annotated[int, Meta(ge=60)] = 30 * 86_400
    """How long finished jobs are kept in the store, with all that belongs to them."""
    transition_retention_seconds: Annotated[int, Meta(ge=60)] = 30 * 86_400
    """How long the history of a finished job is kept; no longer than the job."""
    log_retention_seconds: Annotated[int, Meta(ge=60)] = 30 * 86_400
    """How long a complete log is kept; no longer than its job."""
    dead_letter_retention_seconds: Annotated[int, Meta(ge=60)] = 30 * 86_400
    """How long messages that were taken out of circulation are kept for a person to look at."""

    # Logs
    log_max_bytes: Annotated[int, Meta(ge=65536, le=64 * 1024**3)] = 64 * 1024 * 1024
    """How much is kept of the log of one container: the first half and the last half, with a mark between them."""
    log_store: str = "postgres"
    """Where logs are kept: `postgres`, or the URL of an object store (`s3://bucket/prefix`; needs the extra `s3`)."""
    log_store_endpoint: str | None = None
    """URL of an S3-compatible service. None: AWS's own. Credentials come from the usual AWS variables, files and roles."""
    log_store_region: str | None = None
    """Region of the object store. None: as the usual AWS variables say."""
    log_follow_after_seconds: Annotated[float, Meta(ge=0)] = 5.0
    """How long an attempt must run before its log is followed; what ends earlier costs one request."""
    log_follows_max: Annotated[int, Meta(ge=1, le=10_000)] = 200
    """Logs followed at once, per process."""
    log_deadline_seconds: Annotated[float, Meta(gt=0)] = 600.0
    """How long the log of an ended attempt is tried for before it is recorded as lost, and its cluster job removed."""

    # Watchers and sweeper
    watch_idle_seconds: Annotated[float, Meta(gt=0)] = 90.0
    """Silence after which a watch is taken for dead; the server is asked to end each one somewhat earlier."""
    relist_seconds: Annotated[float, Meta(gt=0)] = 900.0
    """How often a watcher lists everything anew, against what the store believes."""
    leader_lease_seconds: Annotated[float, Meta(ge=1, le=60)] = 9.0
    """How long a silent watcher or sweeper keeps its standby waiting; one that is stopped or killed hands over at once."""
    sweep_seconds: Annotated[float, Meta(gt=0)] = 1.0
    """How often the sweeper looks for what is due."""
    reconcile_seconds: Annotated[float, Meta(gt=0)] = 600.0
    """How often the sweeper compares the store with the cluster, for what is left in it and what is missing from it."""
    orphan_grace_seconds: Annotated[float, Meta(ge=0)] = 600.0
    """How old a Job or pod of ours must be before it is removed because no row knows it."""

    # Process
    drain_seconds: Annotated[float, Meta(ge=0)] = 20.0
    """How long a stopping process may take to finish what it began."""
    metrics_port: Annotated[int, Meta(ge=-1, le=65535)] = -1
    """Port of /livez, /readyz and /metrics of components without a web server; -1: none, 0: a free one."""
    log_format: Literal["auto", "json", "console"] = "auto"
    """`auto`: console on a terminal, JSON elsewhere."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least level that is logged."""


def _convert(name: str, text: str, field: msgspec.structs.FieldInfo) -> Any:
    value: Any = text
    if field.type == tuple[str, ...]:
        value = [part.strip() for part in text.split(",") if part.strip()]
    try:
        if field.type == Path | None:
            return Path(text).expanduser()
        if field.name == "queue_limits":
            value = _queue_limits(text)
        return msgspec.convert(value, field.type, strict=False, dec_hook=_dec_hook)
    except (msgspec.ValidationError, ValueError) as error:
        raise SettingsError(f"{name}={text!r}: {error}") from None


def _queue_limits(text: str) -> dict[str, str]:
    limits: dict[str, str] = {}
    for part in text.split(","):
        queue, _, limit = (piece.strip() for piece in part.partition("="))
        if not _DNS_LABEL.fullmatch(queue) or not limit.isdecimal():
            raise ValueError(
                f"{part.strip()!r} must be a queue and its limit, such as etl=10; pairs are joined by commas"
            )
        if queue in limits:
            raise ValueError(f"queue {queue} is named twice; keep one of its limits")
        limits[queue] = limit
    return limits


def _dec_hook(type_: type[Any], value: Any) -> Any:
    if type_ is Path:
        return Path(value).expanduser()
    raise NotImplementedError(type_)


def load(overrides: Mapping[str, Any] | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Return the settings of the environment, with `overrides` (from flags; None values are skipped) on top.

    Raises:
        SettingsError: a variable cannot be read as its type, or is outside its limits.
    """
    environ = os.environ if environ is None else environ
    values: dict[str, Any] = {}
    for field in msgspec.structs.fields(Settings):
        name = PREFIX + field.name.upper()
        text = environ.get(name)
        if text:
            values[field.name] = _convert(name, text, field)
    values.update({key: value for key, value in (overrides or {}).items() if value is not None})
    if values.get("database_url") is None and values.get("database_url_file") is not None:
        values["database_url"] = _url_in(values["database_url_file"])
    _check_namespaces(values.get("namespaces", ("default",)))
    return Settings(**values)


def _url_in(file: Path) -> str:
    try:
        url = file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"KJR_DATABASE_URL_FILE={file}: cannot be read: {error}") from None
    if not url:
        raise SettingsError(
            f"KJR_DATABASE_URL_FILE={file}: is empty; it must hold a URL like postgresql://user@host/name"
        )
    return url


def _check_namespaces(namespaces: Sequence[str]) -> None:
    if not namespaces:
        raise SettingsError("KJR_NAMESPACES: must name at least one namespace")
    for name in namespaces:
        if not _DNS_LABEL.fullmatch(name):
            raise SettingsError(
                f"KJR_NAMESPACES: {name!r} is no name of a namespace (at most 63 of a-z, 0-9 and '-'); name each one,"
                " joined by commas"
            )


def unknown_variables(environ: Mapping[str, str] | None = None) -> list[str]:
    """Return the `KJR_*` variables that no setting or client knows: most likely typing errors."""
    environ = os.environ if environ is None else environ
    known = {PREFIX + field.name.upper() for field in msgspec.structs.fields(Settings)}
    known |= {"KJR_SERVER", "KJR_TOKEN", "KJR_CACHE_DIR", "KJR_TESTBED_REQUIRED"}
    return sorted(name for name in environ if name.startswith(PREFIX) and name not in known)


def suggestion(name: str) -> str:
    """Return " (did you mean KJR_X?)" for an unknown variable that is nearly the name of a setting, else an empty string."""
    known = [PREFIX + field.name.upper() for field in msgspec.structs.fields(Settings)]
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.75)
    return f" (did you mean {close[0]}?)" if close else ""


_CREDENTIALS = re.compile(r"://[^/@\s]*@")


def shown(settings: Settings) -> dict[str, str]:
    """Return all settings as text, by variable, for people: credentials in URLs are left out."""
    found = {}
    for field in msgspec.structs.fields(Settings):
        value = getattr(settings, field.name)
        if isinstance(value, dict):
            value = ",".join(f"{key}={limit}" for key, limit in value.items())
        elif isinstance(value, tuple):
            value = ",".join(value)
        found[PREFIX + field.name.upper()] = "" if value is None else _CREDENTIALS.sub("://***@", str(value))
    return found


def changed(settings: Settings) -> dict[str, str]:
    """Return the settings that are not the default, as `shown` shows them."""
    defaults = shown(Settings())
    return {name: value for name, value in shown(settings).items() if value != defaults[name]}


class KubernetesEnvironment(msgspec.Struct, frozen=True, kw_only=True):
    """What the Kubernetes adapter needs of the environment, under the names that Kubernetes itself uses.

    `variables` is the whole environment, for credential plugins, which inherit it; the repr leaves it out.
    """

    kubeconfig: str | None = None
    home: Path = Path("/")
    service_host: str = ""
    service_port: str = "443"
    service_account_dir: Path = Path("/var/run/secrets/kubernetes.io/serviceaccount")
    http_proxy: str = ""
    https_proxy: str = ""
    no_proxy: str = ""
    variables: Mapping[str, str] = {}

    def __repr__(self) -> str:
        return f"KubernetesEnvironment(kubeconfig={self.kubeconfig!r}, service_host={self.service_host!r})"


def kubernetes_environment(environ: Mapping[str, str] | None = None) -> KubernetesEnvironment:
    """Return what the Kubernetes adapter needs of the environment: KUBECONFIG, the service's address, proxies, HOME."""
    environ = os.environ if environ is None else environ

    def either(name: str) -> str:
        return environ.get(name.lower()) or environ.get(name) or ""

    return KubernetesEnvironment(
        kubeconfig=environ.get("KUBECONFIG") or None,
        home=Path(environ.get("HOME") or "~").expanduser(),
        service_host=environ.get("KUBERNETES_SERVICE_HOST", ""),
        service_port=environ.get("KUBERNETES_SERVICE_PORT") or "443",
        http_proxy=either("HTTP_PROXY"),
        https_proxy=either("HTTPS_PROXY"),
        no_proxy=either("NO_PROXY"),
        variables=dict(environ),
    )


def aws_region(environ: Mapping[str, str] | None = None) -> str | None:
    """Return the region of `AWS_REGION`, which AWS sets in its own containers and its Python library does not read."""
    environ = os.environ if environ is None else environ
    return environ.get("AWS_DEFAULT_REGION") or environ.get("AWS_REGION") or None


def tracing_wanted(environ: Mapping[str, str] | None = None) -> bool:
    """Return whether the standard variables of OpenTelemetry ask for traces: a receiver is named, and nothing says no."""
    environ = os.environ if environ is None else environ
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    if environ.get("OTEL_TRACES_EXPORTER", "").strip().lower() == "none":
        return False
    return any(environ.get(name) for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"))


def tracing_protocol(environ: Mapping[str, str] | None = None) -> str:
    """Return the OTLP protocol that the environment asks for; we speak `http/protobuf`, which is also the default."""
    environ = os.environ if environ is None else environ
    names = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
    return next((value for name in names if (value := environ.get(name, "").strip())), "http/protobuf")


SECRET_VARIABLES = ("KJR_TOKEN", "PGPASSWORD", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
SECRET_MIN_LENGTH = 5
"""A shorter value is left: it would be found in half of all words, and hides nothing from anybody who guesses."""


def secrets(settings: Settings, environ: Mapping[str, str] | None = None) -> frozenset[str]:
    """Return the secret values of our own configuration, as they are written and as they are meant: none belongs in a log."""
    environ = os.environ if environ is None else environ
    found = {environ.get(name, "") for name in SECRET_VARIABLES}
    for name in ("OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS"):
        values = [pair.partition("=")[2].strip() for pair in environ.get(name, "").split(",")]
        found |= {*values, *map(unquote, values)}
    if settings.database_url is not None:
        credentials = urlsplit(settings.database_url).netloc.rpartition("@")[0]
        password = credentials.partition(":")[2]
        found |= {password, unquote(password)}
    return frozenset(value for value in found if len(value) >= SECRET_MIN_LENGTH)
