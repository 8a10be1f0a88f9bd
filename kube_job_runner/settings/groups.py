"""The groups of settings: one frozen struct for each part of the server.

A setting has one name, one default and one line of meaning: here, or in `domain.limits` where the rules use its number. Its
variable is `KJR_` and the name of the field, or the `name=` of the field where that is another. The reference page is made
from the texts below the fields.
"""

import os
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, field

from kube_job_runner.domain.limits import AdmissionLimits, Bounds, Graces, SpecLimits

Port = Annotated[int, Meta(ge=0, le=65535)]
Seconds = Annotated[float, Meta(ge=0)]
PositiveSeconds = Annotated[float, Meta(gt=0)]
Age = Annotated[int, Meta(ge=60)]

MONTH_SECONDS = 30 * 86_400


class DatabaseSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The PostgreSQL database."""

    url: str | None = field(default=None, name="database_url")
    """PostgreSQL URL (`postgresql://user:password@host:5432/name`) or `host=... password=...`. None: the embedded PostgreSQL."""
    url_file: Path | None = field(default=None, name="database_url_file")
    """File that holds the URL, such as a mounted Secret. It is read at start when `KJR_DATABASE_URL` is not set."""
    role_prefix: Annotated[str, Meta(pattern=r"^[a-z_][a-z0-9_]{0,30}$")] = field(
        default="kjr_", name="database_role_prefix"
    )
    """Prefix of the components' role names in PostgreSQL. `kjr migrate --roles` creates and grants the roles."""


class QueueSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The queue that carries the messages."""

    address: str = field(default="postgres", name="queue")
    """The queue of messages: `postgres`, or SQS as `sqs://NAME`, `sqs://ACCOUNT/NAME` or the queue's URL (extra `sqs`)."""
    endpoint: str | None = field(default=None, name="queue_endpoint")
    """URL of a service that speaks the SQS protocol, or of a VPC endpoint. None: that of the queue's URL, else AWS's own."""
    region: str | None = field(default=None, name="queue_region")
    """Region of the queue. None: that of the queue's URL, else that of the usual AWS variables and files."""
    wait_seconds: Annotated[float, Meta(ge=1, le=20)] = field(default=5.0, name="queue_wait_seconds")
    """How long a request to SQS waits for messages. A longer wait costs fewer requests, but may delay a stop by as much."""


class ClusterSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What runs the jobs, and how we talk to it."""

    kind: Literal["kubernetes", "local", "simulated"] = field(default="kubernetes", name="cluster")
    """What runs the jobs. `kjr up` takes `local` by default."""
    local_user: str | None = None
    """User that local jobs run as, so that they cannot read what belongs to the server. The server must run as root."""
    instance: Annotated[str, Meta(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")] = "default"
    """Name of this installation: the label that keeps two installations in one cluster apart."""
    kubeconfig: str | None = None
    """Kubeconfig file(s), separated as in KUBECONFIG. None: KUBECONFIG, then in-cluster (in a pod), then ~/.kube/config."""
    kube_context: str | None = None
    """Context of the kubeconfig. None: its current one."""
    concurrency: Annotated[int, Meta(ge=1, le=256)] = field(default=32, name="cluster_concurrency")
    """Requests to the API server in flight at once, per process."""
    watch_idle_seconds: PositiveSeconds = 90.0
    """Silence after which a watch counts as dead and is opened again. The server is asked to end each watch a little earlier."""
    relist_seconds: PositiveSeconds = 900.0
    """How often a watcher lists everything again and compares it with the store."""


class WebSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The web server."""

    host: str = "127.0.0.1"
    """Address to listen on. Without authentication only loopback is accepted."""
    port: Port = 8080
    """Port to listen on. 0 takes a free one."""
    auth: Literal["token", "none"] = "token"
    """`token`: every API request needs a bearer token. `none`: no authentication, loopback only."""
    allowed_hosts: tuple[str, ...] = ()
    """Names that requests may have in `Host`, with a port or for every port, separated by commas. Probes are always
    answered. None: with `KJR_AUTH=token` every name. With `none` loopback is always allowed, and nothing else by default."""
    body_max_bytes: Annotated[int, Meta(ge=1024)] = 16 * 1024 * 1024
    """Maximum size of a request body."""
    bodies_max_bytes: Annotated[int, Meta(ge=65536)] = 64 * 1024 * 1024
    """Maximum bytes of all bodies that are read or worked on at once, of one token half of it; at least twice the maximum of
    one. Bodies up to 64 KiB are not counted."""
    body_timeout_seconds: PositiveSeconds = 30.0
    """Maximum time that a client may take to send its request body."""
    head_timeout_seconds: PositiveSeconds = 15.0
    """Maximum time that a client may take to send the head of a request."""
    idle_timeout_seconds: PositiveSeconds = 75.0
    """How long a connection is kept open for the next request. A proxy in front should close its own earlier."""
    write_timeout_seconds: PositiveSeconds = 30.0
    """How long a client may take no part of its answer. It is cut off then; a reader of a log can continue at its place."""
    connections_max: Annotated[int, Meta(ge=8)] = 4096
    """Connections at once. Fewer if the limit of open files is low; some more are accepted for probes only."""
    connections_per_peer_max: Annotated[int, Meta(ge=4)] = 3072
    """Connections at once of one address. Behind a proxy, all clients have its address."""
    wait_max_seconds: PositiveSeconds = 60.0
    """Maximum time of a long poll (`?wait=`)."""


class BatchSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How messages are worked on."""

    batch_size: Annotated[int, Meta(ge=1, le=1000)] = 200
    """Messages leased at once."""
    pipelines: Annotated[int, Meta(ge=1, le=32)] = 2
    """Batches worked on at once, per process."""
    lease_seconds: PositiveSeconds = 60.0
    """How long leased messages stay hidden. The lease is extended while a batch is worked on."""
    max_deliveries: Annotated[int, Meta(ge=1)] = 10
    """Deliveries after which a message that still fails is dead-lettered. Temporary errors do not count."""


class CollectSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The log-collector."""

    max_bytes: Annotated[int, Meta(ge=65536, le=64 * 1024**3)] = field(default=64 * 1024 * 1024, name="log_max_bytes")
    """Maximum bytes kept of one container's log: the first half and the last half, with a mark between them."""
    follow_after_seconds: Seconds = field(default=5.0, name="log_follow_after_seconds")
    """How long an attempt must run before its log is followed. The log of a shorter attempt costs one request."""
    follows_max: Annotated[int, Meta(ge=1, le=10_000)] = field(default=200, name="log_follows_max")
    """Logs followed at once, per process."""


class LogStoreSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where logs are kept."""

    address: str = field(default="postgres", name="log_store")
    """Where logs are kept: `postgres`, or the URL of an object store (`s3://bucket/prefix`; needs the extra `s3`)."""
    endpoint: str | None = field(default=None, name="log_store_endpoint")
    """URL of an S3-compatible service. None: AWS's own. Credentials come from the usual AWS variables, files and roles."""
    region: str | None = field(default=None, name="log_store_region")
    """Region of the object store. None: that of the usual AWS variables."""


class RetentionSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How long rows are kept. All rows of a job are removed with it at the latest."""

    jobs_seconds: Age = field(default=MONTH_SECONDS, name="job_retention_seconds")
    """How long finished jobs are kept in the store, with all that belongs to them."""
    transitions_seconds: Age = field(default=MONTH_SECONDS, name="transition_retention_seconds")
    """How long the history of a finished job is kept; no longer than the job."""
    logs_seconds: Age = field(default=MONTH_SECONDS, name="log_retention_seconds")
    """How long a complete log is kept; no longer than its job."""
    dead_letters_seconds: Age = field(default=MONTH_SECONDS, name="dead_letter_retention_seconds")
    """How long dead letters are kept for a person to look at."""
    idempotency_seconds: Age = field(default=7 * 86_400, name="idempotency_retention_seconds")
    """How long an idempotency key is remembered."""


class SweepSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The sweeper."""

    sweep_seconds: PositiveSeconds = 1.0
    """How often the sweeper looks for due work."""
    reconcile_seconds: PositiveSeconds = 600.0
    """How often the sweeper compares the store with the cluster, to find leftover and missing objects."""
    orphan_grace_seconds: Seconds = 600.0
    """How old an orphan must be before it is removed: a Job or pod of ours that no row of the store knows."""


class ProcessSettings(msgspec.Struct, frozen=True, kw_only=True):
    """A process of the server, with any components."""

    data_dir: Path = field(default_factory=lambda: _data_home() / "kube-job-runner")
    """Folder of the embedded PostgreSQL, local job logs and the token of `kjr up`."""
    failure_rules: Path | None = None
    """YAML or JSON file of your own failure rules, which are tried before the built-in ones. See reference/failure-rules.md."""
    leader_lease_seconds: Annotated[float, Meta(ge=1, le=60)] = 9.0
    """How long a standby waits for a silent leader before it takes over. After a stop or a kill it takes over at once."""
    drain_seconds: Seconds = 20.0
    """How long a stopping process may take to finish its work."""
    metrics_port: Annotated[int, Meta(ge=-1, le=65535)] = -1
    """Port of /livez, /readyz and /metrics of components without a web server. -1: none. 0: a free one."""
    log_format: Literal["auto", "json", "console"] = "auto"
    """`auto`: console on a terminal, JSON elsewhere."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Lowest level that is logged."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All settings of all components. A component reads only its own; the others do not affect it."""

    database: DatabaseSettings = field(default_factory=DatabaseSettings)
    queue: QueueSettings = field(default_factory=QueueSettings)
    cluster: ClusterSettings = field(default_factory=ClusterSettings)
    specs: SpecLimits = field(default_factory=SpecLimits)
    web: WebSettings = field(default_factory=WebSettings)
    admission: AdmissionLimits = field(default_factory=AdmissionLimits)
    batches: BatchSettings = field(default_factory=BatchSettings)
    graces: Graces = field(default_factory=Graces)
    bounds: Bounds = field(default_factory=Bounds)
    collect: CollectSettings = field(default_factory=CollectSettings)
    log_store: LogStoreSettings = field(default_factory=LogStoreSettings)
    retention: RetentionSettings = field(default_factory=RetentionSettings)
    sweep: SweepSettings = field(default_factory=SweepSettings)
    process: ProcessSettings = field(default_factory=ProcessSettings)


def _data_home() -> Path:
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
