"""Builds the cluster that the settings and the environment name: its address, credentials, and client."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from kube_job_runner.adapters.kubernetes.client import Client
from kube_job_runner.adapters.kubernetes.cluster import KubernetesCluster
from kube_job_runner.adapters.kubernetes.credentials import ConfiguredSource, CredentialSource
from kube_job_runner.adapters.kubernetes.discovery import discover
from kube_job_runner.adapters.kubernetes.exec_plugin import ExecSource
from kube_job_runner.adapters.kubernetes.rest_config import ConnectionConfig
from kube_job_runner.adapters.kubernetes.watched_namespace import Tuning
from kube_job_runner.settings import KubernetesEnvironment
from kube_job_runner.settings.groups import ClusterSettings
from kube_job_runner.telemetry import loggers

_log = loggers.get_logger(__name__)


async def connect(
    settings: ClusterSettings,
    environment: KubernetesEnvironment,
    *,
    namespaces: tuple[str, ...],
    installation: str = "",
) -> KubernetesCluster:
    """Return the cluster of this installation. Connections are opened by the first request.

    `installation` is the id that marks what we create as made for this very database.

    Raises:
        ConfigurationError: no cluster is configured, or its configuration is wrong.
    """
    config = discover(settings, environment)
    _log.info("connecting to the cluster", action="cluster.connect", server=config.server, origin=config.origin)
    return KubernetesCluster(
        Client(config, _source(config, environment), concurrency=settings.concurrency, monotonic=time.monotonic),
        instance=settings.instance,
        installation=installation,
        namespaces=namespaces,
        tuning=Tuning(idle_seconds=settings.watch_idle_seconds, relist_seconds=settings.relist_seconds),
    )


def _source(config: ConnectionConfig, environment: KubernetesEnvironment) -> CredentialSource:
    if config.user.exec_plugin is None:
        return ConfiguredSource(config.user, monotonic=time.monotonic)
    return ExecSource(config, variables=environment.variables, now=lambda: datetime.now(UTC), monotonic=time.monotonic)
