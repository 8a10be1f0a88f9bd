"""Kubernetes: configuration and credentials, requests, the informer, and the mapping to and from its objects."""

from __future__ import annotations

from kube_job_runner.adapters.kubernetes.cluster import KubernetesCluster, connect

__all__ = ["KubernetesCluster", "connect"]
