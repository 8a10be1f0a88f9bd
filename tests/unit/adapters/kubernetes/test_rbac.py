"""The shipped rights: exactly those that the adapter's requests need, and none of the forbidden ones."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.support.kubernetes import RBAC_FOLDER, account, rbac

WANTED = {
    "messages-processor": {("batch", "jobs"): {"create", "get", "delete"}, ("", "pods"): {"list", "delete"}},
    "job-status-processor": {("batch", "jobs"): {"get", "list", "watch"}},
    "pod-events-processor": {("", "pods"): {"get", "list", "watch"}, ("", "events"): {"get", "list", "watch"}},
    "sweeper": {("batch", "jobs"): {"get", "list", "delete"}, ("", "pods"): {"list", "delete"}},
    "log-collector": {("", "pods"): {"get"}, ("", "pods/log"): {"get"}},
}
LABEL = "app.kubernetes.io/component"
FORBIDDEN_RESOURCES = {
    "secrets",
    "serviceaccounts",
    "serviceaccounts/token",
    "pods/exec",
    "pods/attach",
    "nodes",
    "nodes/proxy",
}
FORBIDDEN_VERBS = {"*", "impersonate", "escalate", "bind", "update", "patch", "deletecollection"}


def _kind(kind: str, **namespaces: str) -> list[dict[str, Any]]:
    return [document for document in rbac(**namespaces) if document["kind"] == kind]


def _rules(role: dict[str, Any]) -> dict[tuple[str, str], set[str]]:
    return {
        (group, resource): set(rule["verbs"])
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }


@pytest.mark.parametrize("component", WANTED)
def test_each_component_has_exactly_its_rights(component: str) -> None:
    (role,) = [role for role in _kind("Role") if role["metadata"]["labels"][LABEL] == component]
    assert _rules(role) == WANTED[component]
    assert role["metadata"]["namespace"] == "default"


@pytest.mark.parametrize("component", WANTED)
def test_each_role_is_bound_to_its_component_alone(component: str) -> None:
    (binding,) = [b for b in _kind("RoleBinding") if b["metadata"]["labels"][LABEL] == component]
    (role,) = [role for role in _kind("Role") if role["metadata"]["labels"][LABEL] == component]
    assert (binding["roleRef"]["kind"], binding["roleRef"]["name"]) == ("Role", role["metadata"]["name"])
    subjects = {(s["kind"], s["namespace"], s["name"]) for s in binding["subjects"]}
    assert subjects == {("ServiceAccount", "kube-job-runner", account(component))}


def test_nothing_is_cluster_wide_and_nothing_forbidden_is_granted() -> None:
    assert {document["kind"] for document in rbac()} == {"Namespace", "ServiceAccount", "Role", "RoleBinding"}
    assert len(_kind("Role")) == len(WANTED)
    for role in _kind("Role"):
        for (group, resource), verbs in _rules(role).items():
            assert resource not in FORBIDDEN_RESOURCES
            assert "*" not in (group, resource)
            assert not verbs & FORBIDDEN_VERBS


def test_every_subject_is_an_account_that_is_shipped() -> None:
    accounts = {document["metadata"]["name"] for document in _kind("ServiceAccount")}
    subjects = {subject["name"] for binding in _kind("RoleBinding") for subject in binding["subjects"]}
    assert subjects == {account(component) for component in WANTED}
    assert accounts == subjects | {account("web-server")}, "the web server has an account, and no right"


def test_it_can_be_rendered_for_other_namespaces() -> None:
    documents = rbac(accounts_namespace="system", jobs_namespace="tenant-a")
    assert {d["metadata"]["namespace"] for d in documents if d["kind"] in ("Role", "RoleBinding")} == {"tenant-a"}
    assert {d["metadata"]["namespace"] for d in documents if d["kind"] == "ServiceAccount"} == {"system"}
    assert {s["namespace"] for d in documents for s in d.get("subjects", ())} == {"system"}
    assert [d["metadata"]["name"] for d in documents if d["kind"] == "Namespace"] == ["system"]


def test_kustomize_takes_the_same_file() -> None:
    assert "  - rbac.yaml" in (RBAC_FOLDER / "kustomization.yaml").read_text()


def test_every_component_may_read_which_cluster_it_is() -> None:
    """The only right outside the namespaces of jobs: get one namespace by its name."""
    role, binding = yaml.safe_load_all((RBAC_FOLDER / "identity.yaml").read_text())
    assert (role["kind"], role["metadata"]["namespace"]) == ("Role", "kube-system")
    assert role["rules"] == [
        {"apiGroups": [""], "resources": ["namespaces"], "resourceNames": ["kube-system"], "verbs": ["get"]}
    ]
    assert (binding["kind"], binding["metadata"]["namespace"]) == ("RoleBinding", "kube-system")
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert {subject["name"] for subject in binding["subjects"]} == {account(component) for component in WANTED}
    assert "  - identity.yaml" in (RBAC_FOLDER / "kustomization.yaml").read_text()
