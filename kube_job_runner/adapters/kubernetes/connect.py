"""Builds the cluster that the settings and the environment name: finds its configuration, credentials, and client."""

import os
import time
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from kube_job_runner.adapters.kubernetes import kubeconfig, rest_config
from kube_job_runner.adapters.kubernetes.client import Client
from kube_job_runner.adapters.kubernetes.cluster import KubernetesCluster
from kube_job_runner.adapters.kubernetes.credentials import ConfiguredSource, CredentialSource
from kube_job_runner.adapters.kubernetes.exec_plugin import ExecSource
from kube_job_runner.adapters.kubernetes.watched_namespace import Tuning
from kube_job_runner.domain.errors import ConfigurationError
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


def _source(config: rest_config.ConnectionConfig, environment: KubernetesEnvironment) -> CredentialSource:
    if config.user.exec_plugin is None:
        return ConfiguredSource(config.user, monotonic=time.monotonic)
    return ExecSource(config, variables=environment.variables, now=lambda: datetime.now(UTC), monotonic=time.monotonic)


def discover(settings: ClusterSettings, environment: KubernetesEnvironment) -> rest_config.ConnectionConfig:
    """Return the first of: `settings.kubeconfig`, $KUBECONFIG, the pod's service account, ~/.kube/config.

    If the settings name a context, the service account is skipped, because only a kubeconfig has contexts.

    Raises:
        ConfigurationError: there is no configuration, or it is wrong.
    """
    found = _find(settings, environment)
    if found.proxy_url is None:
        found = msgspec.structs.replace(found, proxy_url=rest_config.environment_proxy(found.server, environment))
    return rest_config.checked(found)


def _find(settings: ClusterSettings, environment: KubernetesEnvironment) -> rest_config.ConnectionConfig:
    given = settings.kubeconfig or environment.kubeconfig
    if given:
        return kubeconfig.load(_paths(given, environment.home), context=settings.kube_context)
    if settings.kube_context is None:
        pod = rest_config.in_cluster(environment)
        if pod is not None:
            return pod
    default = environment.home / ".kube" / "config"
    if not default.is_file():
        raise ConfigurationError(
            f"no cluster configured: KJR_KUBECONFIG and KUBECONFIG are unset, this is not a pod, and {default} is missing"
        )
    return kubeconfig.load([default], context=settings.kube_context)


def _paths(text: str, home: Path) -> list[Path]:
    """Return the paths of a list like KUBECONFIG, without duplicates. `~` is our own HOME."""
    paths: dict[Path, None] = {}
    for part in text.split(os.pathsep):
        if part:
            paths[home / part[2:] if part.startswith("~/") else Path(part).absolute()] = None
    return list(paths)
