"""Logs and metrics: the one place that sets them up, so that names and labels stay within their bounds.

A metric never carries a job id or a free label of a user; a log line never carries a spec, an argument or a secret.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Collection, MutableMapping
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

REGISTRY = CollectorRegistry(auto_describe=True)

# C0 but tab and line feed, C1, and what turns the direction of text.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")

_LATENCY_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_PHASE_BUCKETS = (0.1, 0.5, 1, 2, 5, 10, 30, 60, 300, 900, 3600, 14400, 86400)

jobs_submitted = Counter("kjr_jobs_submitted_total", "Jobs accepted and stored.", registry=REGISTRY)
jobs_finished = Counter(
    "kjr_jobs_finished_total", "Jobs that ended, by outcome and reason.", ["outcome", "reason"], registry=REGISTRY
)
job_phase_seconds = Histogram(
    "kjr_job_phase_seconds", "How long a state lasted.", ["phase"], buckets=_PHASE_BUCKETS, registry=REGISTRY
)
messages_handled = Counter(
    "kjr_messages_handled_total", "Messages handled, by type and outcome.", ["type", "outcome"], registry=REGISTRY
)
batch_seconds = Histogram(
    "kjr_batch_seconds", "How long one batch of messages took.", buckets=_LATENCY_BUCKETS, registry=REGISTRY
)
commit_conflicts = Counter(
    "kjr_commit_conflicts_total", "Decisions that another processor overtook.", registry=REGISTRY
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
    "Lists and watches that ended and were tried again, by kind.",
    ["kind"],
    registry=REGISTRY,
)
watch_failures = Counter(
    "kjr_watch_failures_total",
    "Watches that ended by an error of ours and were begun anew.",
    ["kind"],
    registry=REGISTRY,
)
watch_last_event = Gauge(
    "kjr_watch_last_event_timestamp_seconds", "When a watcher last heard anything.", ["kind"], registry=REGISTRY
)
namespaces_unlisted = Gauge(
    "kjr_namespace_unlisted",
    "Whether a namespace cannot be listed by this watcher (1), by kind: its jobs are not seen.",
    ["kind", "namespace"],
    registry=REGISTRY,
)
unknown_signals = Counter(
    "kjr_unknown_signals_total",
    "Waiting reasons of containers that the failure rules do not know; their jobs wait on.",
    ["reason"],
    registry=REGISTRY,
)
unknown_objects = Counter(
    "kjr_unknown_objects_total", "Observations of cluster objects that no attempt owns.", registry=REGISTRY
)
checks_sent = Counter(
    "kjr_checks_sent_total", "Checks that the sweeper sent for jobs that were due.", registry=REGISTRY
)
retention_deleted = Counter(
    "kjr_retention_deleted_total", "Rows removed because of their age, by kind.", ["kind"], registry=REGISTRY
)
retention_waits = Counter(
    "kjr_retention_waits_total", "Pauses of retention because vacuum was behind.", registry=REGISTRY
)
reconciled = Counter(
    "kjr_reconciled_total",
    "Differences between store and cluster that were put right, by kind.",
    ["kind"],
    registry=REGISTRY,
)
reconcile_failures = Counter(
    "kjr_reconcile_failures_total", "Comparisons of store and cluster that could not be completed.", registry=REGISTRY
)
foreign_objects = Gauge(
    "kjr_foreign_objects",
    "Objects with our instance's name that another installation made; left alone.",
    registry=REGISTRY,
)
queue_jobs = Gauge("kjr_jobs", "Jobs that have not ended, by state.", ["state"], registry=REGISTRY)
queue_messages = Gauge("kjr_queue_messages", "Messages on the queue.", registry=REGISTRY)
queue_oldest_seconds = Gauge(
    "kjr_queue_oldest_seconds", "Age of the oldest message that may be received.", registry=REGISTRY
)
relayed = Counter(
    "kjr_relayed_messages_total",
    "Messages of the outbox, by what became of them: sent, put off (the queue was away), refused.",
    ["outcome"],
    registry=REGISTRY,
)
sqs_messages = Gauge(
    "kjr_sqs_messages", "Messages on SQS, about: waiting, in flight, delayed, dead.", ["state"], registry=REGISTRY
)
dead_letters = Gauge("kjr_dead_letters", "Messages that were taken out of circulation.", registry=REGISTRY)
log_bytes = Counter("kjr_log_bytes_total", "Bytes of logs stored, as they were printed.", registry=REGISTRY)
log_lines = Counter("kjr_log_lines_total", "Lines of logs stored.", registry=REGISTRY)
log_follows = Gauge("kjr_log_follows", "Attempts whose logs this process follows.", registry=REGISTRY)
log_lag_seconds = Histogram(
    "kjr_log_lag_seconds",
    "From the verdict on an attempt to its complete log in the store.",
    buckets=_LATENCY_BUCKETS,
    registry=REGISTRY,
)
logs_lost = Counter(
    "kjr_logs_lost_total", "Logs that could not be had, or not entirely.", ["reason"], registry=REGISTRY
)
log_gaps = Counter("kjr_log_gaps_total", "Marks put where lines may be missing.", registry=REGISTRY)
lease_held = Gauge(
    "kjr_lease_held", "Whether this process leads the component (1) or stands by (0).", ["component"], registry=REGISTRY
)
lease_changes = Counter(
    "kjr_lease_changes_total", "Leases that this process took, by component.", ["component"], registry=REGISTRY
)
fenced_writes = Counter(
    "kjr_fenced_writes_total",
    "Writes of this process that were refused because another one leads, by component.",
    ["component"],
    registry=REGISTRY,
)
http_requests = Counter(
    "kjr_http_requests_total", "HTTP requests, by operation and status.", ["operation", "status"], registry=REGISTRY
)
build_info = Gauge("kjr_build_info", "Version of this process.", ["version"], registry=REGISTRY)


def exposition() -> bytes:
    """Return all metrics in the Prometheus text format."""
    return generate_latest(REGISTRY)


def get_logger(name: str) -> Any:
    """Return the structured logger of a module."""
    return structlog.get_logger(name)


class Cleaner:
    """Makes text fit for a log: known secrets are hidden, and control characters, which can drive a terminal, are escaped."""

    def __init__(self, secrets: Collection[str] = ()) -> None:
        longest_first = sorted(set(secrets), key=len, reverse=True)
        self._secrets = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    def text(self, text: str) -> str:
        """Return a text as it may be shown; line feeds and tabs stay."""
        if self._secrets is not None:
            text = self._secrets.sub("***", text)
        return _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", text)

    def __call__(self, _logger: Any, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """Clean all values of a structlog event; what is no text is shown by its repr when it holds something to hide."""
        for key, value in event.items():
            if isinstance(value, str):
                event[key] = self.text(value)
            elif value is not None and not isinstance(value, (bool, int, float)):
                shown = self.text(repr(value))
                if shown != repr(value):
                    event[key] = shown
        return event


class _CleanFormatter(logging.Formatter):
    """The format of what libraries log."""

    def __init__(self, cleaner: Cleaner) -> None:
        super().__init__("%(levelname)s %(name)s %(message)s")
        self._cleaner = cleaner

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        return self._cleaner.text(super().format(record))


def configure(*, log_format: str, log_level: str, secrets: Collection[str] = ()) -> None:
    """Set up logging for the process: JSON lines, or aligned text on a terminal; always to standard error.

    None of `secrets` is ever written, whatever an error message quotes.
    """
    cleaner = Cleaner(secrets)
    console = log_format == "console" or (log_format == "auto" and sys.stderr.isatty())
    renderer: Any = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()) if console else structlog.processors.JSONRenderer()
    )
    level = getattr(logging, log_level.upper())
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[
            *shared,
            structlog.processors.StackInfoRenderer(),
            structlog.processors.format_exc_info,
            structlog.processors.UnicodeDecoder(),
            cleaner,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_CleanFormatter(cleaner))
    logging.basicConfig(level=max(level, logging.WARNING), handlers=[handler])
