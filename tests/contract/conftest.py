"""The test bed's cluster, for the adapter of Kubernetes."""

from __future__ import annotations

from testbed.pytest_plugin import kube_cluster, kube_namespace, kube_programs, pytest_collection_finish

__all__ = ["kube_cluster", "kube_namespace", "kube_programs", "pytest_collection_finish"]
