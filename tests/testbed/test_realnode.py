"""The real node: what only a kubelet can show, and a clear error where it cannot run."""

from pathlib import Path

import pytest

from testbed import apiclient, cluster, images, manifests, realnode


class TestMissing:
    def test_a_machine_without_the_packages_is_told_which(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.setattr(images, "BUSYBOX", tmp_path / "busybox")
        monkeypatch.setattr(realnode, "_CNI_BIN_DIRS", (tmp_path,))
        assert realnode.missing_tools() == ["containerd", "runc", "busybox-static", "containernetworking-plugins"]

    def test_a_busybox_that_needs_a_loader_does_not_count(self, tmp_path: Path) -> None:
        program = tmp_path / "busybox"
        program.write_bytes(b"\x7fELF" + bytes(100) + b"/lib64/ld-linux-x86-64.so.2")
        assert not realnode._is_static(program)
        program.write_bytes(b"\x7fELF" + bytes(100))
        assert realnode._is_static(program)

    def test_without_root_it_is_unavailable(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("os.geteuid", lambda: 1000)
        assert realnode.unavailable_reason() == "it needs root"

    def test_a_refusal_by_the_machine_is_no_fault_of_ours(self) -> None:
        assert realnode._is_refusal(PermissionError(1, "Operation not permitted"))
        assert not realnode._is_refusal(apiclient.NotReadyError("kubelet has died: unknown flag"))


@pytest.mark.cluster
@pytest.mark.realnode
class TestRunning:
    def test_a_pod_runs_and_its_log_reads_back(
        self, kube_cluster: cluster.Cluster, kube_real_node: realnode.RealNode, kube_namespace: str
    ) -> None:
        shell = {"command": ["sh", "-c", "echo to out; echo to err >&2; exit 3"]}
        job = manifests.job("j", container=shell, pod=manifests.on_real_node())
        kube_cluster.api()("POST", f"/apis/batch/v1/namespaces/{kube_namespace}/jobs", job).require(201)
        kube_cluster.kubectl("-n", kube_namespace, "wait", "--for=condition=failed", "job/j", "--timeout=60s")
        log = kube_cluster.kubectl("-n", kube_namespace, "logs", "job/j")
        assert sorted(log.splitlines()) == ["to err", "to out"]  # two pipes: their order is not kept
        (pod,) = kube_cluster.api()("GET", f"/api/v1/namespaces/{kube_namespace}/pods").require(200)["items"]
        assert pod["spec"]["nodeName"] == kube_real_node.name
        assert pod["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 3

    def test_a_program_that_is_missing_is_a_start_error(
        self, kube_cluster: cluster.Cluster, kube_real_node: realnode.RealNode, kube_namespace: str
    ) -> None:
        job = manifests.job("j", container={"command": ["/no/such/program"]}, pod=manifests.on_real_node())
        kube_cluster.api()("POST", f"/apis/batch/v1/namespaces/{kube_namespace}/jobs", job).require(201)
        kube_cluster.kubectl("-n", kube_namespace, "wait", "--for=condition=failed", "job/j", "--timeout=60s")
        (pod,) = kube_cluster.api()("GET", f"/api/v1/namespaces/{kube_namespace}/pods").require(200)["items"]
        terminated = pod["status"]["containerStatuses"][0]["state"]["terminated"]
        assert (terminated["exitCode"], terminated["reason"]) == (128, "StartError")

    def test_other_pods_stay_away_from_it(
        self, kube_cluster: cluster.Cluster, kube_real_node: realnode.RealNode, kube_namespace: str
    ) -> None:
        for number in range(3):
            job = manifests.job(f"j{number}", script={"run": "0s"})
            kube_cluster.api()("POST", f"/apis/batch/v1/namespaces/{kube_namespace}/jobs", job).require(201)
        kube_cluster.kubectl("-n", kube_namespace, "wait", "--for=condition=complete", "job", "--all", "--timeout=60s")
        found = kube_cluster.api()("GET", f"/api/v1/namespaces/{kube_namespace}/pods").require(200)["items"]
        assert kube_real_node.name not in {pod["spec"]["nodeName"] for pod in found}
