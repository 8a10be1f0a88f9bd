"""The chart on a real API server: every object is accepted without a warning, every account has exactly its rights."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from testbed import chart, helm
from testbed.cluster import Cluster
from tests.chart.conftest import helm_program
from tests.cluster.conftest import running_product
from tests.support.kubernetes import account, install
from tests.support.postgres import Server
from tests.support.product import COMPONENTS

__all__ = ["helm_program"]
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

NAMESPACE = chart.NAME
OPERATOR_KINDS = {"ServiceMonitor": "servicemonitors", "PrometheusRule": "prometheusrules"}
FORBIDDEN = [  # group, resource, subresource, verbs
    ("", "secrets", "", ("get", "list", "watch", "create", "update", "patch", "delete")),
    ("", "configmaps", "", ("get", "list", "create", "update")),
    ("", "serviceaccounts", "token", ("create",)),
    ("", "serviceaccounts", "", ("create", "update", "patch", "impersonate")),
    ("", "users", "", ("impersonate",)),
    ("", "groups", "", ("impersonate",)),
    ("", "pods", "exec", ("create", "get")),
    ("", "pods", "attach", ("create", "get")),
    ("", "pods", "portforward", ("create", "get")),
    ("", "pods", "ephemeralcontainers", ("update", "patch")),
    ("", "pods", "eviction", ("create",)),
    ("", "pods", "", ("create", "update", "patch", "deletecollection")),
    ("", "nodes", "proxy", ("get", "create")),
    ("", "nodes", "", ("get", "list", "watch", "update", "patch", "delete")),
    ("", "namespaces", "", ("get", "list", "create", "delete")),
    ("batch", "jobs", "", ("update", "patch", "deletecollection")),
    ("batch", "cronjobs", "", ("create", "update", "patch")),
    ("apps", "deployments", "", ("create", "update", "patch")),
    ("rbac.authorization.k8s.io", "roles", "", ("create", "update", "patch", "bind", "escalate")),
    ("rbac.authorization.k8s.io", "rolebindings", "", ("create", "update", "patch")),
    ("rbac.authorization.k8s.io", "clusterroles", "", ("bind", "escalate", "create")),
    ("rbac.authorization.k8s.io", "clusterrolebindings", "", ("create",)),
    ("coordination.k8s.io", "leases", "", ("get", "create", "update")),
    ("*", "*", "", ("*",)),
]


def _operator_crd(kind: str, plural: str) -> dict[str, Any]:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.monitoring.coreos.com"},
        "spec": {
            "group": "monitoring.coreos.com",
            "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural, "singular": kind.lower()},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}],
        },
    }


@pytest.fixture(scope="module")
def prepared(kube_cluster: Cluster) -> Cluster:
    """Return the cluster with what the values files take for granted: namespaces, the operator's kinds, a priority class."""
    kube_cluster.create_namespace(NAMESPACE, labels={"pod-security.kubernetes.io/enforce": "restricted"})
    items = [_operator_crd(kind, plural) for kind, plural in OPERATOR_KINDS.items()]
    priority = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "value": 1000}
    items.append({**priority, "metadata": {"name": "platform-critical"}})
    kube_cluster.apply(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    for plural in OPERATOR_KINDS.values():
        kube_cluster.kubectl(
            "wait", "--for=condition=Established", f"crd/{plural}.monitoring.coreos.com", "--timeout=60s"
        )
    return kube_cluster


@pytest.mark.parametrize("case", chart.cases())
def test_every_object_is_taken_strictly_and_without_a_warning(prepared: Cluster, case: str) -> None:
    path = chart.GOLDEN / f"{case}.yaml"
    # What the objects of the case before do not let be changed.
    prepared.kubectl("delete", "pod", "kube-job-runner-test", "-n", NAMESPACE, "--force", "--ignore-not-found")
    prepared.kubectl("delete", "job", "kube-job-runner-migrate", "-n", NAMESPACE, "--ignore-not-found")
    done = prepared.run_kubectl("apply", "--server-side", "--force-conflicts", "--validate=strict", "-f", str(path))
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr, done.stderr
    items = chart.objects(path.read_text())
    assert len(done.stdout.splitlines()) == len(items)
    for item in items:
        if "template" in item.get("spec", {}):
            _assert_restricted(prepared, item)


def _assert_restricted(cluster: Cluster, workload: dict[str, Any]) -> None:
    """Pod Security looks at pods, not at Deployments: ask with the pod that one would make."""
    template = workload["spec"]["template"]
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "x-", **template["metadata"]}}
    body = pod | {"spec": template["spec"]}
    answer = cluster.api()("POST", f"/api/v1/namespaces/{NAMESPACE}/pods?dryRun=All&fieldValidation=Strict", body)
    assert answer.status == 201, f"{workload['metadata']['name']}: {answer.body}"


def test_the_namespace_does_refuse_what_is_not_restricted(prepared: Cluster) -> None:
    (deployment, *_) = (
        i for i in chart.objects((chart.GOLDEN / "minimal.yaml").read_text()) if i["kind"] == "Deployment"
    )
    deployment["spec"]["template"]["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = True
    with pytest.raises(AssertionError, match="violates PodSecurity"):
        _assert_restricted(prepared, deployment)


@pytest.fixture(scope="module")
def accounts(kube_cluster: Cluster) -> tuple[str, dict[str, Path]]:
    """Return the namespace of jobs and the kubeconfigs of the accounts, made from the rendered manifests."""
    return install(kube_cluster)


def _user(jobs: str, component: str) -> str:
    return f"system:serviceaccount:{jobs.replace('jobs-', 'kjr-', 1)}:{account(component)}"


@pytest.mark.parametrize("component", COMPONENTS)
def test_an_account_has_the_rights_of_the_table_and_no_other(
    kube_cluster: Cluster, accounts: tuple[str, dict[str, Path]], component: str
) -> None:
    jobs, _ = accounts
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview", "spec": {"namespace": jobs}}
    groups = ("--as-group=system:serviceaccounts", "--as-group=system:authenticated")
    answer = kube_cluster.kubectl(
        "create",
        "--validate=false",
        "-f",
        "-",
        "-o",
        "json",
        f"--as={_user(jobs, component)}",
        *groups,
        stdin=json.dumps(review),
    )
    status = json.loads(answer)["status"]
    found: dict[tuple[str, str], set[str]] = {}
    for rule in status["resourceRules"]:
        for group in set(rule["apiGroups"]) - {"authorization.k8s.io", "authentication.k8s.io"}:  # everybody's
            for resource in rule["resources"]:
                found.setdefault((group, resource), set()).update(rule["verbs"])
    assert not status["incomplete"]
    assert found == chart.rights(chart.objects((chart.BASE / "rbac.yaml").read_text()), component)


@pytest.mark.parametrize("component", COMPONENTS)
def test_an_account_may_do_nothing_that_is_forbidden_nor_anything_elsewhere(
    kube_cluster: Cluster, accounts: tuple[str, dict[str, Path]], component: str
) -> None:
    jobs, _ = accounts
    user = _user(jobs, component)
    may = _Asking(kube_cluster, user)
    for namespace in (jobs, jobs.replace("jobs-", "kjr-", 1), "kube-system", ""):
        for group, resource, subresource, verbs in FORBIDDEN:
            allowed = [verb for verb in verbs if may(verb, group, resource, subresource, namespace)]
            assert not allowed, f"{component} may {allowed} {resource}/{subresource} in {namespace or 'all namespaces'}"
    for (group, resource), given in chart.rights(_rbac(), component).items():
        name, _, subresource = resource.partition("/")
        for verb in given:
            assert may(verb, group, name, subresource, jobs), "else the questions above prove nothing"
            assert not may(verb, group, name, subresource, "kube-system")
            assert not may(verb, group, name, subresource, "")


def _rbac() -> list[dict[str, Any]]:
    return chart.objects((chart.BASE / "rbac.yaml").read_text())


class _Asking:
    """Asks the API server whether an account may do something."""

    def __init__(self, cluster: Cluster, user: str) -> None:
        self._call = cluster.api()
        self._user = user

    def __call__(self, verb: str, group: str, resource: str, subresource: str, namespace: str) -> bool:
        attributes = {"verb": verb, "group": group, "resource": resource, "subresource": subresource}
        spec = {
            "user": self._user,
            "groups": ["system:serviceaccounts", "system:authenticated"],
            "resourceAttributes": attributes | {"namespace": namespace},
        }
        body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
        answer = self._call("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", body).require(201)
        return bool(answer["status"]["allowed"])


def test_helm_test_runs_a_real_job(
    accounts: tuple[str, dict[str, Path]], kube_cluster: Cluster, pg_server: Server, tmp_path: Path
) -> None:
    (pod,) = (i for i in chart.objects((chart.GOLDEN / "minimal.yaml").read_text()) if i["kind"] == "Pod")
    (container,) = pod["spec"]["containers"]
    values = {entry["name"]: entry.get("value", "") for entry in container["env"]}
    running = running_product(
        kube_cluster, pg_server, installed=accounts, auth="token", log_deadline_seconds=2, sweep_seconds=0.2
    )
    with running as product:
        inside = values | {"KJR_SERVER": product.url, "KJR_DATABASE_URL": product.database_url, "HOME": str(tmp_path)}
        environment = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", **inside}
        done = subprocess.run(container["command"], env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        failing = [*container["command"]]
        refused = subprocess.run(
            failing, env=environment | {"TEST_IMAGE": "Not/A:Image"}, capture_output=True, text=True, timeout=120
        )
        listed = subprocess.run(
            ["kjr", "token", "list", "-o", "json"], env=environment, capture_output=True, text=True, check=True
        )
    assert refused.returncode != 0
    tokens = json.loads(listed.stdout)
    assert len(tokens) == 2
    assert all(token["revoked_at"] for token in tokens), "a test leaves no token that works"


def test_helm_installs_upgrades_and_uninstalls(prepared: Cluster, kube_namespace: str, helm_program: Path) -> None:
    def run(*arguments: str) -> str:
        common = ("-n", kube_namespace, "--kubeconfig", str(prepared.kubeconfig()))
        return helm.text(*arguments, *common)

    values = ("--set", "database.existingSecret.name=x", "--values", str(chart.CHART / "ci" / "minimal-values.yaml"))
    run("install", "one", str(chart.CHART), *values)
    replicas = (
        "get",
        "deployment",
        "one-kube-job-runner-sweeper",
        "-n",
        kube_namespace,
        "-o",
        "jsonpath={.spec.replicas}",
    )
    assert prepared.kubectl(*replicas) == "2"
    # The operator's kinds are there, so the chart's monitoring is too.
    assert "one-kube-job-runner" in prepared.kubectl("get", "servicemonitors", "-n", kube_namespace, "-o", "name")
    run("upgrade", "one", str(chart.CHART), *values, "--set", "components.sweeper.replicas=0")
    assert prepared.kubectl(*replicas) == "0"
    run("uninstall", "one")
    left = prepared.kubectl(
        "get", "deployments,services,serviceaccounts,roles", "-A", "-l", "app.kubernetes.io/instance=one"
    )
    assert not left.strip()
