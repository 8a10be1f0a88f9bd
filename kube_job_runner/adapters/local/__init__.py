"""The local cluster: runs jobs as local processes, so that the whole product works on a laptop."""

from kube_job_runner.adapters.local.cluster import LocalCluster

__all__ = ["LocalCluster"]
