"""All metrics of the server, with their names, labels and help texts.

A metric never has a job id or a free label of a user. A label with values from outside goes through `Bounded`: only the
first values are kept, and the rest becomes `other`, so that the number of series is bounded. The depth of the queue is
measured by one process, the sweeper, every ten seconds, and never by a scrape.
"""

from functools import partial

import prometheus_client

from kube_job_runner.telemetry.kinds import Bounded, DepthFigures, Heartbeats

prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each counter, which nobody uses
REGISTRY = prometheus_client.CollectorRegistry(auto_describe=True)

queue_label = Bounded(32)
cause_label = Bounded(150)
signal_label = Bounded(50)
_LATENCY_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_PHASE_BUCKETS = (0.1, 0.5, 1, 2, 5, 10, 30, 60, 300, 900, 3600, 14400, 86400)
_counter = partial(prometheus_client.Counter, registry=REGISTRY)
_gauge = partial(prometheus_client.Gauge, registry=REGISTRY)
_histogram = partial(prometheus_client.Histogram, registry=REGISTRY, buckets=_LATENCY_BUCKETS)

jobs_submitted = _counter("kjr_jobs_submitted_total", "Jobs accepted and stored.")
jobs_finished = _counter(
    "kjr_jobs_finished_total",
    "Jobs that ended, by queue, outcome and cause (the reason code).",
    ["queue", "outcome", "cause"],
)
job_phase_seconds = _histogram(
    "kjr_job_phase_seconds",
    "How long a phase lasted: queue (until admitted), start (until the container runs), run, total.",
    ["phase", "queue"],
    buckets=_PHASE_BUCKETS,
)
messages_handled = _counter("kjr_messages_handled_total", "Messages handled, by type and outcome.", ["type", "outcome"])
batch_seconds = _histogram("kjr_batch_seconds", "How long one batch of messages took.")
commit_conflicts = _counter(
    "kjr_commit_conflicts_total", "Decisions that were too late, because another processor had changed the job."
)
cluster_requests = _counter(
    "kjr_cluster_requests_total", "Effects on the cluster, by verb and outcome.", ["verb", "outcome"]
)
observations = _counter("kjr_observations_total", "Observations sent to the queue, by kind.", ["kind"])
watch_wrong_lists = _counter("kjr_watch_wrong_lists_total", "Lists that lacked cluster jobs which exist.", [])
watch_relists = _counter("kjr_watch_relists_total", "Full lists of a watcher, by kind.", ["kind"])
watch_retries = _counter(
    "kjr_watch_retries_total", "Lists and watches that failed and were retried, by kind.", ["kind"]
)
watch_failures = _counter(
    "kjr_watch_failures_total", "Watches that ended by an unexpected error and were restarted, by kind.", ["kind"]
)
watch_last_event = _gauge(
    "kjr_watch_last_event_timestamp_seconds", "When the API server last sent anything to a watcher, by kind.", ["kind"]
)
watch_heard = Heartbeats(watch_last_event)
namespaces_unlisted = _gauge(
    "kjr_namespace_unlisted",
    "1 if this watcher cannot list a namespace, so that it does not see its jobs; by kind.",
    ["kind", "namespace"],
)
unknown_signals = _counter(
    "kjr_unknown_signals_total",
    "Waiting reasons of containers that no failure rule knows. Their jobs keep waiting.",
    ["reason"],
)
unknown_objects = _counter("kjr_unknown_objects_total", "Observations of cluster objects that belong to no attempt.")
checks_sent = _counter("kjr_checks_sent_total", "Checks that the sweeper sent for jobs that were due.")
retention_deleted = _counter("kjr_retention_deleted_total", "Rows removed by retention, by kind.", ["kind"])
retention_waits = _counter("kjr_retention_waits_total", "Pauses of retention because vacuum was behind.")
drift = _counter(
    "kjr_drift_total",
    "Differences between store and cluster: orphans removed, zombies reported, and corrections that failed.",
    ["kind"],
)
reconcile_failures = _counter("kjr_reconcile_failures_total", "Comparisons of store and cluster that failed.")
foreign_objects = _gauge(
    "kjr_foreign_objects", "Objects with our instance name that another installation created. They are not touched."
)
relayed = _counter(
    "kjr_relayed_messages_total",
    "Messages of the outbox, by outcome: sent, put_off (the queue was unreachable), refused.",
    ["outcome"],
)
sqs_messages = _gauge(
    "kjr_sqs_messages", "Approximate number of messages on SQS, by state: waiting, in_flight, delayed, dead.", ["state"]
)
log_bytes = _counter("kjr_log_bytes_total", "Bytes of logs stored, as they were printed.")
log_lines = _counter("kjr_log_lines_total", "Lines of logs stored.")
log_follows = _gauge("kjr_log_follows", "Attempts whose logs this process follows.")
log_lag_seconds = _histogram(
    "kjr_log_lag_seconds", "Time from the verdict on an attempt to its complete log in the store."
)
logs_lost = _counter("kjr_logs_lost_total", "Logs that were lost, entirely or in part, by reason.", ["reason"])
log_gaps = _counter("kjr_log_gaps_total", "Marks in logs where lines may be missing.")
lease_held = _gauge("kjr_lease_held", "1 if this process leads the component, 0 if it stands by.", ["component"])
lease_changes = _counter("kjr_lease_changes_total", "Leases that this process took, by component.", ["component"])
fenced_writes = _counter(
    "kjr_fenced_writes_total",
    "Writes of this process that were refused because another process leads, by component.",
    ["component"],
)
http_requests = _counter("kjr_http_requests_total", "HTTP requests, by operation and status.", ["operation", "status"])
build_info = _gauge("kjr_build_info", "Version of this process.", ["version"])

# --- Rate, errors, duration, saturation, per component ---------------------------------------------------------------

component_up = _gauge("kjr_component_up", "1 for each component that this process runs.", ["component"])
rounds = _counter(
    "kjr_rounds_total",
    "Rounds of a component's loop, by outcome: ok, temporary (it is retried), error (the process ends).",
    ["component", "outcome"],
)
round_ended = Heartbeats(
    _gauge(
        "kjr_round_last_success_timestamp_seconds", "When a round of a component's loop last succeeded.", ["component"]
    )
)
http_seconds = _histogram(
    "kjr_http_request_seconds",
    "Time from a request to the head of its answer. A long poll includes the wait that its client asked for.",
    ["operation"],
)
http_in_flight = _gauge("kjr_http_requests_in_flight", "HTTP requests in flight.")
http_connections = _gauge("kjr_http_connections", "HTTP connections that are open.")
http_connections_ended = _counter(
    "kjr_http_connections_ended_total",
    "HTTP connections that the server ended by itself, by what was late (head, body, queued, idle, linger, closing, write), or"
    " full: to make room for others.",
    ["why"],
)
submits_waiting = _gauge("kjr_submits_waiting", "Submits that wait for a commit.")
pipelines = _gauge("kjr_pipelines", "Batches that this process may work on at once.")
pipelines_busy = _gauge("kjr_pipelines_busy", "Batches that this process works on.")
cluster_seconds = _histogram(
    "kjr_cluster_request_seconds", "How long an effect on the cluster took, by verb.", ["verb"]
)
cluster_in_flight = _gauge("kjr_cluster_requests_in_flight", "Effects on the cluster in flight.")
watch_lag_seconds = _histogram(
    "kjr_watch_lag_seconds",
    "Time from a change in the cluster, by its own clock in whole seconds, to its observation. Lists are left out.",
    ["kind"],
    buckets=(0.5, 1, 2, 3, 5, 10, 30, 60, 300),
)
watch_buffered = _gauge("kjr_watch_buffered_messages", "Observations that wait to be sent to the queue.", ["kind"])
observation_send_seconds = _histogram(
    "kjr_observation_send_seconds",
    "How long a batch of observations took to reach the queue, including retries.",
    ["kind"],
)
log_follows_max = _gauge("kjr_log_follows_max", "Logs that this process may follow at once.")
sweep_seconds = _histogram("kjr_sweep_seconds", "How long a round of the sweeper took.")
reconcile_seconds = _histogram(
    "kjr_reconcile_seconds",
    "How long a comparison of store and cluster took.",
    buckets=(0.1, 0.5, 1, 5, 10, 30, 60, 300, 900),
)
depth_failures = _counter("kjr_depth_failures_total", "Measurements of the queue that failed.")
db_seconds = _histogram("kjr_db_seconds", "How long a unit of work held a database connection.")
db_wait_seconds = _histogram("kjr_db_wait_seconds", "How long a unit of work waited for a database connection.")
db_errors = _counter(
    "kjr_db_errors_total",
    "Units of work on the database that failed, by kind: unavailable, temporary, refused, configuration, other.",
    ["kind"],
)
db_connections = _gauge("kjr_db_connections", "Database connections in use.")
db_connections_max = _gauge("kjr_db_connections_max", "Database connections that may be in use.")
ready = _gauge("kjr_ready", "Readiness checks of this process: 1 passes, 0 fails.", ["check"])
stopping_since = _gauge("kjr_stopping_since_timestamp_seconds", "When this process began to stop; 0 before that.")
drain_limit_seconds = _gauge("kjr_drain_limit_seconds", "How long this process may take to drain.")
loop_lag_seconds = _histogram(
    "kjr_event_loop_lag_seconds",
    "How late the event loop runs its timers: a sign that its one CPU is overloaded.",
    buckets=(0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 5),
)
prometheus_client.ProcessCollector(registry=REGISTRY)

# --- Depth of the queue, measured by one process ------------------------------------------------------------------

depth_figures = DepthFigures(queue_label)
REGISTRY.register(depth_figures)


def exposition() -> bytes:
    """Return all metrics in the Prometheus text format."""
    return prometheus_client.generate_latest(REGISTRY)
