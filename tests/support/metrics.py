"""The registered metrics: names, kinds and labels, for the reference page and for tests."""

from __future__ import annotations

from typing import Any, NamedTuple

from kube_job_runner.telemetry import metrics

COMPONENTS = (  # the beginning of a name, and whose metric it is
    (("kjr_jobs_submitted", "kjr_http_", "kjr_submits_"), "web-server"),
    (
        (
            "kjr_jobs_finished",
            "kjr_job_phase",
            "kjr_messages_",
            "kjr_batch_",
            "kjr_commit_",
            "kjr_cluster_",
            "kjr_pipelines",
            "kjr_unknown_",
        ),
        "messages-processor",
    ),
    (("kjr_watch_", "kjr_observation"), "job-status-processor, pod-events-processor"),
    (("kjr_log",), "log-collector"),
    (
        (
            "kjr_checks_",
            "kjr_sweep_",
            "kjr_reconcile_",
            "kjr_drift_",
            "kjr_foreign_",
            "kjr_queue_",
            "kjr_outbox_",
            "kjr_jobs",
            "kjr_dead_",
            "kjr_depth_",
            "kjr_retention_",
        ),
        "sweeper",
    ),
    (("kjr_",), "every process"),
    (("process_",), "every process (Linux)"),
)


class Metric(NamedTuple):
    """A metric as it stands in the exposition: a counter with its `_total`."""

    name: str
    kind: str
    labels: tuple[str, ...]
    text: str

    @property
    def component(self) -> str:
        """Whose metric it is."""
        return next(owner for beginnings, owner in COMPONENTS if self.name.startswith(beginnings))

    @property
    def series(self) -> set[str]:
        """The names of its time series."""
        if self.kind == "histogram":
            return {f"{self.name}{end}" for end in ("_bucket", "_sum", "_count")}
        return {self.name}


def registered() -> list[Metric]:
    """Return all metrics of the registry, by name."""
    found: dict[str, Metric] = {}
    collectors: dict[Any, list[str]] = metrics.REGISTRY._collector_to_names
    for collector in collectors:
        for family in collector.describe() if hasattr(collector, "describe") else collector.collect():
            labels: tuple[str, ...] = getattr(collector, "_labelnames", ()) or getattr(family, "_labelnames", ()) or ()
            name = f"{family.name}_total" if family.type == "counter" else family.name
            found[name] = Metric(name, family.type, tuple(labels), family.documentation)
    return [found[name] for name in sorted(found)]
