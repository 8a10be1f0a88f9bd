"""What every golden render must fulfil, whatever its values; this needs no Helm."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

import kube_job_runner
from kube_job_runner import settings
from testbed import chart
from tests.support.product import COMPONENTS, RELAY
from tests.unit.web.conftest import World


def _items(case: str, *kinds: str) -> list[dict[str, Any]]:
    items = chart.objects((chart.GOLDEN / f"{case}.yaml").read_text())
    return [item for item in items if not kinds or item["kind"] in kinds]


def _pods(case: str) -> dict[str, dict[str, Any]]:
    pods = {item["metadata"]["name"]: item["spec"]["template"]["spec"] for item in _items(case, "Deployment", "Job")}
    return pods | {item["metadata"]["name"]: item["spec"] for item in _items(case, "Pod")}


def _containers(pod: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        container for container in (*pod.get("initContainers", ()), *pod["containers"]) if container["name"] != "before"
    ]


@pytest.mark.parametrize("case", chart.cases())
def test_pods_are_restricted_and_write_to_tmp_only(case: str) -> None:
    for name, pod in _pods(case).items():
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] >= 10_000
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["enableServiceLinks"] is False
        for container in _containers(pod):
            context = container["securityContext"]
            assert context["readOnlyRootFilesystem"] is True, name
            assert context["allowPrivilegeEscalation"] is False
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["requests"]
            assert container["resources"]["limits"]["memory"]
            assert any(mount["mountPath"] == "/tmp" for mount in container["volumeMounts"])


@pytest.mark.parametrize("case", chart.cases())
def test_a_token_is_mounted_only_where_it_is_used(case: str) -> None:
    roles = {item["metadata"]["labels"]["app.kubernetes.io/component"] for item in _items(case, "Role")}
    for item in _items(case, "Deployment"):
        component = item["metadata"]["labels"]["app.kubernetes.io/component"]
        assert item["spec"]["template"]["spec"]["automountServiceAccountToken"] is (component in roles)
    for item in _items(case, "ServiceAccount"):
        assert item["automountServiceAccountToken"] is False


@pytest.mark.parametrize("case", chart.cases())
def test_the_grace_of_a_pod_is_longer_than_its_drain(case: str) -> None:
    (config,) = [item for item in _items(case, "ConfigMap") if item["metadata"]["name"].endswith("-config")]
    drain_seconds = int(config["data"]["KJR_DRAIN_SECONDS"])
    for item in _items(case, "Deployment"):
        spec = item["spec"]["template"]["spec"]
        (container, *_) = spec["containers"]
        hook = container.get("lifecycle", {}).get("preStop", {}).get("exec", {"command": ["sleep", "0"]})
        assert spec["terminationGracePeriodSeconds"] > int(hook["command"][1]) + drain_seconds


@pytest.mark.parametrize("case", chart.cases())
def test_every_component_is_known_and_every_setting_can_be_read(case: str) -> None:
    (config,) = [item for item in _items(case, "ConfigMap") if item["metadata"]["name"].endswith("-config")]
    for item in _items(case, "Deployment"):
        (container, *_) = item["spec"]["template"]["spec"]["containers"]
        verb, *components = container["args"]
        assert verb == "serve"
        assert set(components) <= {*COMPONENTS, RELAY}
        own = {entry["name"]: entry["value"] for entry in container["env"] if "value" in entry}
        environ = {**config["data"], **own}
        environ.pop("KJR_DATABASE_URL_FILE", None)  # of a pod, not of this machine
        assert settings.unknown_variables(environ) == []
        loaded = settings.load(environ=environ)
        assert loaded.cluster.kind == "kubernetes"
        assert loaded.web.auth == "token"


@pytest.mark.parametrize("case", chart.cases())
def test_what_is_selected_exists(case: str) -> None:
    pods = [item["spec"]["template"]["metadata"]["labels"] for item in _items(case, "Deployment")]
    for item in _items(case, "Service", "PodDisruptionBudget"):
        selector = item["spec"]["selector"]
        selector = selector.get("matchLabels", selector)
        assert any(selector.items() <= labels.items() for labels in pods), item["metadata"]["name"]
    accounts = {item["metadata"]["name"] for item in _items(case, "ServiceAccount")}
    assert all(pod.get("serviceAccountName", "default") in accounts | {"default"} for pod in _pods(case).values())


def test_our_own_pods_never_carry_the_mark_of_jobs() -> None:
    """The product finds (and sweeps) what it created by this label, also when its own pods are in the same namespace."""
    for case in chart.cases():
        for item in _items(case, "Deployment", "Job"):
            for labels in (item["metadata"]["labels"], item["spec"]["template"]["metadata"]["labels"]):
                assert labels["app.kubernetes.io/managed-by"] != "kube-job-runner"


def test_a_component_has_the_credential_that_is_its_own() -> None:
    read = {
        item["metadata"]["labels"]["app.kubernetes.io/component"]: {
            container["name"]: chart.secrets_of(container)
            for container in _containers(item["spec"]["template"]["spec"])
        }
        for item in _items("production", "Deployment")
    }
    assert read["web-server"] == {"web-server": {"kube-job-runner-db-web"}, "migrate": {"kjr-db-owner"}}
    assert read["sweeper"] == {"sweeper": {"kjr-db-sweeper"}, "migrate": {"kjr-db-owner"}}


def test_an_image_can_be_pinned_by_digest() -> None:
    for pod in _pods("production").values():
        assert all("@sha256:" in container["image"] for container in _containers(pod))


def test_versions_agree() -> None:
    read = yaml.safe_load((chart.CHART / "Chart.yaml").read_text())
    assert read["appVersion"] == kube_job_runner.__version__


def _published(path: str) -> bool:
    """Whether the Ingress of the production values leads to this path, by the rules of networking/v1 (Exact, Prefix)."""
    (ingress,) = _items("production", "Ingress")
    (rule,) = ingress["spec"]["rules"]
    return any(
        path == entry["path"] or (entry["pathType"] == "Prefix" and path.startswith(entry["path"].rstrip("/") + "/"))
        for entry in rule["http"]["paths"]
    )


def test_the_ingress_publishes_all_that_the_web_server_serves_but_metrics_and_probes() -> None:
    paths = {bound.operation.path for bound in World().app.app.operations}
    inside = {"/metrics", "/livez", "/healthz", "/readyz"}
    assert inside < paths
    assert {path for path in paths if not _published(path)} == inside


@pytest.mark.parametrize("name", ["alerts.yaml", "dashboard.json"])
def test_the_chart_ships_the_alerts_and_the_dashboard_of_the_project(name: str) -> None:
    assert (chart.CHART / "files" / name).read_bytes() == (chart.MONITORING / name).read_bytes(), "run `make chart`"
