"""The command line and the floor client: what a person runs, and what a benchmark is compared with."""

import json
import subprocess
import sys

import pytest

from testbed import cluster, floor
from tests.testbed.children import ROOT

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("kube_programs")]


class TestCommandLine:
    def test_up_list_kubectl_floor_down(self) -> None:
        name = "cli-test"
        assert run_cli("up", "--name", name, "--nodes", "2").startswith("export KUBECONFIG=/")
        try:
            assert f"{name}\trunning\traised" in run_cli("list")
            assert "node-1" in run_cli("kubectl", "--name", name, "get", "nodes")
            result = json.loads(run_cli("floor", "--name", name, "--jobs", "20"))
            assert result["jobs_per_second"] > 0
            again = run_cli("up", "--name", name, code=1)
            assert again == ""
        finally:
            kube = cluster.attach(name)
            everything = list(kube.launcher.record.processes.values())
            run_cli("down", "--name", name)
        assert not any(process.is_alive() for process in everything)
        assert f"{name}\t" not in run_cli("list")


class TestFloor:
    def test_it_counts_what_it_did(self, kube_cluster: cluster.Cluster) -> None:
        result = floor.run(kube_cluster, jobs=30, namespace="floor-test")
        assert result.jobs == 30
        assert 0 < result.job_seconds.p50 <= result.job_seconds.p99 <= result.seconds
        assert result.requests["POST jobs"] >= 30
        assert result.cpu_seconds["kube-apiserver"] > 0

    def test_suspended_jobs_run_nothing(self, kube_cluster: cluster.Cluster) -> None:
        result = floor.run(kube_cluster, jobs=10, suspended=True, namespace="floor-suspended")
        assert result.creates_per_second > 0
        assert not kube_cluster.api()("GET", "/api/v1/namespaces/floor-suspended/pods").require(200)["items"]

    def test_a_failure_is_told(self, kube_cluster: cluster.Cluster) -> None:
        with pytest.raises(floor.FloorError, match="context deadline exceeded"):
            floor.run(kube_cluster, jobs=1000, namespace="default", timeout_seconds=0.2)


def run_cli(*arguments: str, code: int = 0) -> str:
    command = [sys.executable, "-m", "testbed", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert done.returncode == code, done.stderr
    return done.stdout
