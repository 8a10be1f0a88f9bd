"""The Kubernetes cluster: configuration and credentials, requests, the informer, and the mapping of objects."""

from kube_job_runner.adapters.kubernetes.cluster import KubernetesCluster
from kube_job_runner.adapters.kubernetes.connect import connect

__all__ = ["KubernetesCluster", "connect"]
