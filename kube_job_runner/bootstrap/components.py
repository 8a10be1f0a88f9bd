"""The components of an installation, and what each of them needs."""

from __future__ import annotations

from collections.abc import Sequence

from kube_job_runner.bootstrap.queue_schemes import queue_address
from kube_job_runner.domain.errors import ConfigurationError
from kube_job_runner.settings import Settings

COMPONENTS = (
    "web-server",
    "messages-processor",
    "job-status-processor",
    "pod-events-processor",
    "log-collector",
    "sweeper",
)
LED = {"job-status-processor", "pod-events-processor", "sweeper"}
"""Components of which one process works at a time and the others stand by; of the rest, any number work side by side."""
RELAY = "outbox-relay"  # only where the queue is not in the database
STORE_ONLY = {"web-server", RELAY}  # they have no business in the cluster
NO_QUEUE = {"web-server", "log-collector", *LED}  # what they send goes into the database


def all_components(settings: Settings) -> tuple[str, ...]:
    """Return the components of an installation with these settings.

    Raises:
        ConfigurationError: KJR_QUEUE cannot be read.
    """
    return COMPONENTS if queue_address(settings) is None else (*COMPONENTS, RELAY)


def refuse_unknown(components: Sequence[str], everything: Sequence[str]) -> None:
    """Raise ConfigurationError for a name that is no component."""
    unknown = sorted(set(components) - {*COMPONENTS, RELAY})
    if unknown:
        raise ConfigurationError(f"unknown component {', '.join(unknown)}; there are: {', '.join(everything)}")
