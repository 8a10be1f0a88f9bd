"""The cluster as other tests see it: real answers, scripted pods, correct counts, and nothing left at the end."""

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from testbed import apiclient, cluster, config, manifests, state
from testbed.processes import ProcessId
from tests.testbed.children import python

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("kube_programs")]

ROLE = """
apiVersion: v1
kind: ServiceAccount
metadata: {name: runner}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: runner}
rules:
- {apiGroups: [batch], resources: [jobs], verbs: [create, get]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: runner}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: runner}
subjects: [{kind: ServiceAccount, name: runner}]
"""


def until(check: Callable[[], Any], limit_seconds: float = 30) -> Any:
    """The first true answer of `check`."""
    found: list[Any] = []

    def passed() -> bool:
        found[:] = [check()]
        return bool(found[0])

    apiclient.wait_until("what the test waits for", passed, limit_seconds=limit_seconds)
    return found[0]


def create_job(kube: cluster.Cluster, namespace: str, job: dict[str, Any]) -> None:
    kube.api()("POST", f"/apis/batch/v1/namespaces/{namespace}/jobs", job).require(201)


def condition(kube: cluster.Cluster, namespace: str, name: str, kind: str) -> bool:
    job = kube.api()("GET", f"/apis/batch/v1/namespaces/{namespace}/jobs/{name}").require(200)
    conditions = job["status"].get("conditions", [])
    return any(each["type"] == kind and each["status"] == "True" for each in conditions)


def pods(kube: cluster.Cluster, namespace: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = kube.api()("GET", f"/api/v1/namespaces/{namespace}/pods").require(200)["items"]
    return items


def container_states(kube: cluster.Cluster, namespace: str, kind: str) -> list[dict[str, Any]]:
    statuses = [status for pod in pods(kube, namespace) for status in pod["status"].get("containerStatuses", [])]
    return [status["state"][kind] for status in statuses if kind in status["state"]]


class TestScriptedPods:
    def test_a_job_that_runs_no_time_completes(self, kube_cluster: cluster.Cluster, kube_namespace: str) -> None:
        create_job(kube_cluster, kube_namespace, manifests.job("j", script={"run": "0s"}))
        until(lambda: condition(kube_cluster, kube_namespace, "j", "Complete"))
        (found,) = container_states(kube_cluster, kube_namespace, "terminated")
        assert (found["exitCode"], found["reason"]) == (0, "Completed")

    def test_exit_code_reason_and_message_are_as_scripted(
        self, kube_cluster: cluster.Cluster, kube_namespace: str
    ) -> None:
        script = {"exit-code": "137", "reason": "OOMKilled", "message": "too big: 2 GiB"}
        create_job(kube_cluster, kube_namespace, manifests.job("j", script=script))
        until(lambda: condition(kube_cluster, kube_namespace, "j", "Failed"))
        (found,) = container_states(kube_cluster, kube_namespace, "terminated")
        assert (found["exitCode"], found["reason"], found["message"]) == (137, "OOMKilled", "too big: 2 GiB")

    def test_an_image_that_cannot_be_pulled_ends_in_back_off(
        self, kube_cluster: cluster.Cluster, kube_namespace: str
    ) -> None:
        script = {"mode": "imagepull", "image-error": "manifest unknown"}
        create_job(kube_cluster, kube_namespace, manifests.job("j", script=script))

        def backed_off() -> list[dict[str, Any]]:
            waiting = container_states(kube_cluster, kube_namespace, "waiting")
            return [each for each in waiting if each["reason"] == "ImagePullBackOff"]

        (found,) = until(backed_off)
        assert "manifest unknown" in found["message"]
        assert not condition(kube_cluster, kube_namespace, "j", "Failed"), "no one but us ever ends such a Job"

    def test_any_waiting_reason_can_be_scripted(self, kube_cluster: cluster.Cluster, kube_namespace: str) -> None:
        script = {
            "mode": "waiting",
            "waiting-reason": "CreateContainerConfigError",
            "waiting-message": 'secret "s" not found',
        }
        create_job(kube_cluster, kube_namespace, manifests.job("j", script=script))
        (found,) = until(lambda: container_states(kube_cluster, kube_namespace, "waiting"))
        assert found == {"reason": "CreateContainerConfigError", "message": 'secret "s" not found'}

    def test_a_deleted_pod_takes_its_grace_and_its_exit_code(
        self, kube_cluster: cluster.Cluster, kube_namespace: str
    ) -> None:
        create_job(kube_cluster, kube_namespace, manifests.job("j", script={"run": "1h", "grace": "1s"}))
        until(lambda: container_states(kube_cluster, kube_namespace, "running"))
        start = time.monotonic()
        path = f"/apis/batch/v1/namespaces/{kube_namespace}/jobs/j?propagationPolicy=Background"
        kube_cluster.api()("DELETE", path).require(200)
        until(lambda: not pods(kube_cluster, kube_namespace))
        assert 0.9 < time.monotonic() - start < 15

    def test_too_big_a_request_stays_unschedulable(self, kube_cluster: cluster.Cluster, kube_namespace: str) -> None:
        job = manifests.job("j", container={"resources": {"requests": {"cpu": "5000"}}})
        create_job(kube_cluster, kube_namespace, job)

        def refusals() -> list[str]:
            found = [each for pod in pods(kube_cluster, kube_namespace) for each in pod["status"].get("conditions", [])]
            return [each["message"] for each in found if each["type"] == "PodScheduled" and each["status"] == "False"]

        assert "Insufficient cpu" in until(refusals)[0]


class TestAccess:
    def test_a_user_without_rights_is_refused(self, kube_cluster: cluster.Cluster) -> None:
        done = kube_cluster.run_kubectl("get", "jobs", user="kjr")
        assert done.returncode == 1
        assert 'User "kjr" cannot list resource "jobs"' in done.stderr

    def test_a_service_account_may_do_what_its_role_says(
        self, kube_cluster: cluster.Cluster, kube_namespace: str
    ) -> None:
        kube_cluster.kubectl("apply", "-n", kube_namespace, "-f", "-", stdin=ROLE)
        kubeconfig = kube_cluster.service_account_kubeconfig(kube_namespace, "runner")
        token = json.loads(kubeconfig.read_text())["users"][0]["user"]["token"]
        call = apiclient.Api(kube_cluster.url, token, kube_cluster.ca_file)
        path = f"/apis/batch/v1/namespaces/{kube_namespace}/jobs"
        call("POST", path, manifests.job("allowed")).require(201)
        call("POST", path, manifests.job("allowed")).require(409)
        call("DELETE", f"{path}/allowed").require(403)

        def mine() -> list[tuple[str, str, int]]:
            return [
                (event["verb"], event["objectRef"]["name"], event["responseStatus"]["code"])
                for event in kube_cluster.audit_events(resource="jobs")
                if event["user"]["username"] == f"system:serviceaccount:{kube_namespace}:runner"
            ]

        until(lambda: len(mine()) == 3)
        assert mine() == [("create", "allowed", 201), ("create", "allowed", 409), ("delete", "allowed", 403)]

    def test_the_audit_log_is_silent_about_everyone_else(
        self, kube_cluster: cluster.Cluster, kube_namespace: str
    ) -> None:
        create_job(kube_cluster, kube_namespace, manifests.job("j"))
        until(lambda: condition(kube_cluster, kube_namespace, "j", "Complete"))
        assert not [each for each in kube_cluster.audit_events() if each["objectRef"]["namespace"] == kube_namespace]

    def test_kubectl_says_what_went_wrong(self, kube_cluster: cluster.Cluster) -> None:
        with pytest.raises(cluster.KubectlError, match='pods "none" not found'):
            kube_cluster.kubectl("get", "pod", "none")
        assert kube_cluster.kubectl("get", "pod", "none", check=False) == ""

    def test_metrics_are_summed_by_label(self, kube_cluster: cluster.Cluster) -> None:
        everything = kube_cluster.metric("apiserver_request_total")
        nodes = kube_cluster.metric("apiserver_request_total", resource="nodes", verb="POST", code="201")
        assert everything > nodes >= 20
        assert kube_cluster.metric("no_such_metric") == 0


class TestNodes:
    def test_a_node_of_its_own_takes_only_its_pods(self, kube_cluster: cluster.Cluster, kube_namespace: str) -> None:
        node = kube_cluster.add_node(labels={"own": kube_namespace}, cpu="2")
        job = manifests.job("j", script={"run": "1h"}, pod={"nodeSelector": {"own": kube_namespace}})
        create_job(kube_cluster, kube_namespace, job)
        until(lambda: container_states(kube_cluster, kube_namespace, "running"))
        assert [pod["spec"]["nodeName"] for pod in pods(kube_cluster, kube_namespace)] == [node]
        kube_cluster.delete_node(node)
        assert kube_cluster.api().get_status(f"/api/v1/nodes/{node}") == 404


class TestBreaking:
    def test_a_killed_api_server_comes_back_with_its_data(self) -> None:
        with cluster.start(nodes=1) as kube:
            kube.create_namespace("kept")
            before = kube.pid("kube-apiserver")
            kube.stop_component("kube-apiserver")
            assert kube.api().get_status("/readyz") == 0
            kube.start_component("kube-apiserver")
            assert kube.pid("kube-apiserver") != before
            kube.api()("GET", "/api/v1/namespaces/kept").require(200)
            create_job(kube, "kept", manifests.job("j"))
            until(lambda: condition(kube, "kept", "j", "Complete"), 60)

    def test_a_stopped_api_server_hangs_and_goes_on(self) -> None:
        with cluster.start(nodes=1) as kube:
            kube.signal("kube-apiserver", signal.SIGSTOP)
            with pytest.raises(TimeoutError):
                kube.api()("GET", "/readyz", timeout_seconds=0.5)
            kube.signal("kube-apiserver", signal.SIGCONT)
            assert kube.api().get_status("/readyz") == 200

    def test_a_component_that_is_down_cannot_be_signalled(self) -> None:
        with cluster.start(nodes=0) as kube:
            kube.stop_component("kwok")
            with pytest.raises(ProcessLookupError, match="kwok is not running"):
                kube.signal("kwok", signal.SIGCONT)


class TestEnd:
    def test_two_clusters_run_side_by_side_and_leave_nothing(self) -> None:
        with cluster.start(nodes=1) as one, cluster.start(nodes=1, profile="default") as two:
            everything = [*one.launcher.record.processes.values(), *two.launcher.record.processes.values()]
            ports = {*one.launcher.record.ports.values(), *two.launcher.record.ports.values()}
            assert len(everything) == len(ports) - 2 == 2 * len(config.COMPONENTS)  # etcd has two ports
            until(lambda: ports <= listening_ports())  # a component may serve probes a moment after it is of use
            assert one.url != two.url
        assert not [process.pid for process in everything if process.is_alive()]
        assert not ports & listening_ports()
        assert not one.run_dir.exists()
        one.stop()

    def test_a_killed_test_run_takes_its_cluster_along(self) -> None:
        code = (
            "import json, time; from testbed import cluster\n"
            "kube = cluster.start(nodes=0)\n"
            "print(json.dumps([kube.name, [kube.pid(name) for name in kube.components()]]), flush=True)\n"
            "time.sleep(1000)\n"
        )
        with python(code) as parent:
            name, pids = json.loads(parent.readline())
            children = [ProcessId.of(pid) for pid in pids]
        until(lambda: not any(child.is_alive() for child in children))
        with pytest.raises(FileNotFoundError):
            cluster.attach(name)
        state.remove_dead()
        assert name not in {record.name for record in state.load_all()}

    def test_the_files_are_kept_on_request(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(cluster.KEEP_VARIABLE, "1")
        with cluster.start(nodes=0) as kube:
            pass
        assert (kube.run_dir / "log" / "kube-apiserver.log").read_text()
        assert kube.name in {record.name for record in state.load_all()}
        monkeypatch.delenv(cluster.KEEP_VARIABLE)
        kube.stop()
        assert not kube.run_dir.exists()

    def test_a_component_that_dies_at_once_is_named_with_its_log(self, monkeypatch: pytest.MonkeyPatch) -> None:
        real = config.commands
        monkeypatch.setattr(
            config, "commands", lambda layout: real(layout) | {"etcd": ["/bin/sh", "-c", "echo no; exit 1"]}
        )
        with pytest.raises(apiclient.NotReadyError, match="etcd has died; the end of its log:\nno"):
            cluster.start(nodes=0)
        state.remove_dead()


def listening_ports() -> set[int]:
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return {int(line.split()[1].rpartition(":")[2], 16) for line in lines if line.split()[3] == "0A"}


def test_containers_of_simulated_nodes_may_have_a_log() -> None:
    with cluster.start(nodes=1, pod_logs=True) as own:
        own.api()("POST", "/apis/batch/v1/namespaces/default/jobs", manifests.job("talks")).require(201)
        own.kubectl("wait", "--for=condition=complete", "--timeout=30s", "job/talks")
        assert own.kubectl("logs", "job/talks") == "hello from a simulated node\n"
