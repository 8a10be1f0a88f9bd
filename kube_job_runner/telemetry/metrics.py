"""All metrics of the server, with their names, labels and help texts.

A metric never has a job id or a free label of a user. A label with values from outside goes through `Bounded`: only the
first values are kept, and the rest becomes `other`, so that the number of series is bounded. The depth of the queue is
measured by one process, the sweeper, every ten seconds, and never by a scrape.
"""

from __future__ import annotations

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from kube_job_runner.telemetry.kinds import Bounded, DepthFigures, Heartbeats

disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each counter, which nobody uses
REGISTRY = CollectorRegistry(auto_describe=True)

queue_label = Bounded(32)
cause_label = Bounded(150)
signal_label = Bounded(50)
_LATENCY_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_PHASE_BUCKETS = (0.1, 0.5, 1, 2, 5, 10, 30, 60, 300, 900, 3600, 14400, 86400)

jobs_submitted = Counter("kjr_jobs_submitted_total", "Jobs accepted and stored.", registry=REGISTRY)
jobs_finished = Counter(
    "kjr_jobs_finished_total",
    "Jobs that ended, by queue, outcome and cause (the reason code).",
    ["queue", "outcome", "cause"],
    registry=REGISTRY,
)
job_phase_seconds = Histogram(
    "kjr_job_phase_seconds",
    "How long a phase lasted: queue (until admitted), start (until the container runs), run, total.",
    ["phase", "queue"],
    buckets=_PHASE_BUCKETS,
    registry=REGISTRY,
)
messages_handled = Counter(
    "kjr_messages_handled_total", "Messages handled, by type and outcome.", ["type", "outcome"], registry=REGISTRY
)
batch_seconds = Histogram(
    "kjr_batch_seconds", "How long one batch of messages took.", buckets=_LATENCY_BUCKETS, registry=REGISTRY
)
commit_conflicts = Counter(
    "kjr_commit_conflicts_total",
    "Decisions that were too late, because another processor had changed the job.",
    registry=REGISTRY,
)
cluster_requests = Counter(
    "kjr_cluster_requests_total", "Effects on the cluster, by verb and outcome.", ["verb", "outcome"], registry=REGISTRY
)
observations = Counter(
    "kjr_observations_total", "Observations sent to the queue, by kind.", ["kind"], registry=REGISTRY
)
watch_relists = Counter("kjr_watch_relists_total", "Full lists of a watcher, by kind.", ["kind"], registry=REGISTRY)
watch_retries = Counter(
    "kjr_watch_retries_total",
    "Lists and watches that failed and were retried, by kind.",
    ["kind"],
    registry=REGISTRY,
)
watch_failures = Counter(
    "kjr_watch_failures_total",
    "Watches that ended by an unexpected error and were restarted, by kind.",
    ["kind"],
    registry=REGISTRY,
)
watch_last_event = Gauge(
    "kjr_watch_last_event_timestamp_seconds",
    "When the API server last sent anything to a watcher, by kind.",
    ["kind"],
    registry=REGISTRY,
)
watch_heard = Heartbeats(watch_last_event)
namespaces_unlisted = Gauge(
    "kjr_namespace_unlisted",
    "1 if this watcher cannot list a namespace, so that it does not see its jobs; by kind.",
    ["kind", "namespace"],
    registry=REGISTRY,
)
unknown_signals = Counter(
    "kjr_unknown_signals_total",
    "Waiting reasons of containers that no failure rule knows. Their jobs keep waiting.",
    ["reason"],
    registry=REGISTRY,
)
unknown_objects = Counter(
    "kjr_unknown_objects_total", "Observations of cluster objects that belong to no attempt.", registry=REGISTRY
)
checks_sent = Counter(
    "kjr_checks_sent_total", "Checks that the sweeper sent for jobs that were due.", registry=REGISTRY
)
retention_deleted = Counter(
    "kjr_retention_deleted_total", "Rows removed by retention, by kind.", ["kind"], registry=REGISTRY
)
retention_waits = Counter(
    "kjr_retention_waits_total", "Pauses of retention because vacuum was behind.", registry=REGISTRY
)
drift = Counter(
    "kjr_drift_total",
    "Differences between store and cluster: orphans removed, zombies reported, and corrections that failed.",
    ["kind"],
    registry=REGISTRY,
)
reconcile_failures = Counter(
    "kjr_reconcile_failures_total", "Comparisons of store and cluster that failed.", registry=REGISTRY
)
foreign_objects = Gauge(
    "kjr_foreign_objects",
    "Objects with our instance name that another installation created. They are left alone.",
    registry=REGISTRY,
)
relayed = Counter(
    "kjr_relayed_messages_total",
    "Messages of the outbox, by outcome: sent, put_off (the queue was unreachable), refused.",
    ["outcome"],
    registry=REGISTRY,
)
sqs_messages = Gauge(
    "kjr_sqs_messages",
    "Approximate number of messages on SQS, by state: waiting, in_flight, delayed, dead.",
    ["state"],
    registry=REGISTRY,
)
log_bytes = Counter("kjr_log_bytes_total", "Bytes of logs stored, as they were printed.", registry=REGISTRY)
log_lines = Counter("kjr_log_lines_total", "Lines of logs stored.", registry=REGISTRY)
log_follows = Gauge("kjr_log_follows", "Attempts whose logs this process follows.", registry=REGISTRY)
log_lag_seconds = Histogram(
    "kjr_log_lag_seconds",
    "Time from the verdict on an attempt to its complete log in the store.",
    buckets=_LATENCY_BUCKETS,
    registry=REGISTRY,
)
logs_lost = Counter(
    "kjr_logs_lost_total", "Logs that were lost, entirely or in part, by reason.", ["reason"], registry=REGISTRY
)
log_gaps = Counter("kjr_log_gaps_total", "Marks in logs where lines may be missing.", registry=REGISTRY)
lease_held = Gauge(
    "kjr_lease_held", "1 if this process leads the component, 0 if it stands by.", ["component"], registry=REGISTRY
)
lease_changes = Counter(
    "kjr_lease_changes_total", "Leases that this process took, by component.", ["component"], registry=REGISTRY
)
fenced_writes = Counter(
    "kjr_fenced_writes_total",
    "Writes of this process that were refused because another process leads, by component.",
    ["component"],
    registry=REGISTRY,
)
http_requests = Counter(
    "kjr_http_requests_total", "HTTP requests, by operation and status.", ["operation", "status"], registry=REGISTRY
)
build_info = Gauge("kjr_build_info", "Version of this process.", ["version"], registry=REGISTRY)

# --- Rate, errors, duration, saturation, per component ---------------------------------------------------------------

component_up = Gauge(
    "kjr_component_up", "1 for each component that this process runs.", ["component"], registry=REGISTRY
)
rounds = Counter(
    "kjr_rounds_total",
    "Rounds of a component's loop, by outcome: ok, temporary (it is retried), error (the process ends).",
    ["component", "outcome"],
    registry=REGISTRY,
)
round_ended = Heartbeats(
    Gauge(
        "kjr_round_last_success_timestamp_seconds",
        "When a round of a component's loop last succeeded.",
        ["component"],
        registry=REGISTRY,
    )
)
http_seconds = Histogram(
    "kjr_http_request_seconds",
    "Time from a request to the head of its answer. A long poll includes the wait that its client asked for.",
    ["operation"],
    buckets=_LATENCY_BUCKETS,
    registry=REGISTRY,
)
http_in_flight = Gauge("kjr_http_requests_in_flight", "HTTP requests in flight.", registry=REGISTRY)
submits_waiting = Gauge("kjr_submits_waiting", "Submits that wait for a commit.", registry=REGISTRY)
pipelines = Gauge("kjr_pipelines", "Batches that this process may work on at once.", registry=REGISTRY)
pipelines_busy = Gauge("kjr_pipelines_busy", "Batches that this process works on.", registry=REGISTRY)
cluster_seconds = Histogram(
    "kjr_cluster_request_seconds",
    "How long an effect on the cluster took, by verb.",
    ["verb"],
    buckets=_LATENCY_BUCKETS,
    registry=REGISTRY,
)
cluster_in_flight = Gauge("kjr_cluster_requests_in_flight", "Effects on the cluster in flight.", registry=REGISTRY)
watch_lag_seconds = Histogram(
    "kjr_watch_lag_seconds",
    "Time from a change in the cluster, by its own clock in whole seconds, to its observation. Lists are left out.",
    ["kind"],
    buckets=(0.5, 1, 2, 3, 5, 10, 30, 60, 300),
    registry=REGISTRY,
)
watch_buffered = Gauge(
    "kjr_watch_buffered_messages", "Observations that wait to be sent to the queue.", ["kind"], registry=REGISTRY
)
observation_send_seconds = Histogram(
    "kjr_observation_send_seconds",
    "How long a batch of observations took to reach the queue, including retries.",
    ["kind"],
    buckets=_LATENCY_BUCKETS,
    registry=REGISTRY,
)
log_follows_max = Gauge("kjr_log_follows_max", "Logs that this process may follow at once.", registry=REGISTRY)
sweep_seconds = Histogram(
    "kjr_sweep_seconds", "How long a round of the sweeper took.", buckets=_LATENCY_BUCKETS, registry=REGISTRY
)
reconcile_seconds = Histogram(
    "kjr_reconcile_seconds",
    "How long a comparison of store and cluster took.",
    buckets=(0.1, 0.5, 1, 5, 10, 30, 60, 300, 900),
    registry=REGISTRY,
)
depth_failures = Counter("kjr_depth_failures_total", "Measurements of the queue that failed.", registry=REGISTRY)
db_seconds = Histogram(
    "kjr_db_seconds",
    "How long a unit of work held a database connection.",
    buckets=_LATENCY_BUCKETS,
    registry=REGISTRY,
)
db_wait_seconds = Histogram(
    "kjr_db_wait_seconds",
    "How long a unit of work waited for a database connection.",
    buckets=_LATENCY_BUCKETS,
    registry=REGISTRY,
)
db_errors = Counter(
    "kjr_db_errors_total",
    "Units of work on the database that failed, by kind: unavailable, temporary, refused, configuration, other.",
    ["kind"],
    registry=REGISTRY,
)
db_connections = Gauge("kjr_db_connections", "Database connections in use.", registry=REGISTRY)
db_connections_max = Gauge("kjr_db_connections_max", "Database connections that may be in use.", registry=REGISTRY)
ready = Gauge("kjr_ready", "Readiness checks of this process: 1 passes, 0 fails.", ["check"], registry=REGISTRY)
stopping_since = Gauge(
    "kjr_stopping_since_timestamp_seconds", "When this process was told to stop; 0 before that.", registry=REGISTRY
)
drain_limit_seconds = Gauge("kjr_drain_limit_seconds", "How long this process may take to drain.", registry=REGISTRY)
loop_lag_seconds = Histogram(
    "kjr_event_loop_lag_seconds",
    "How late the event loop runs its timers: a sign that its one CPU is overloaded.",
    buckets=(0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 5),
    registry=REGISTRY,
)
ProcessCollector(registry=REGISTRY)

# --- Depth of the queue, measured by one process ------------------------------------------------------------------

depth_figures = DepthFigures(queue_label)
REGISTRY.register(depth_figures)


def exposition() -> bytes:
    """Return all metrics in the Prometheus text format."""
    return generate_latest(REGISTRY)
