"""Finds the configuration of the cluster: the order of the places to look at."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from kube_job_runner.adapters.kubernetes import kubeconfig, rest_config
from kube_job_runner.domain.errors import ConfigurationError
from kube_job_runner.settings import KubernetesEnvironment
from kube_job_runner.settings.groups import ClusterSettings


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
            f"no cluster configured: KJR_KUBECONFIG and KUBECONFIG are unset, this is not a pod, and {default} is missing",
        )
    return kubeconfig.load([default], context=settings.kube_context)


def _paths(text: str, home: Path) -> list[Path]:
    """Return the paths of a list like KUBECONFIG, without duplicates. `~` is our own HOME."""
    paths: dict[Path, None] = {}
    for part in text.split(os.pathsep):
        if part:
            paths[home / part[2:] if part.startswith("~/") else Path(part).absolute()] = None
    return list(paths)
