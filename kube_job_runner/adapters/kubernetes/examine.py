"""Examines a cluster for `kjr doctor`: whether it answers, its version, and our rights (SelfSubjectAccessReview)."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

import msgspec

from kube_job_runner.adapters.kubernetes import answers
from kube_job_runner.adapters.kubernetes.client import Client
from kube_job_runner.domain.errors import KjrError
from kube_job_runner.ports.findings import Finding, fail, ok, warn

MINIMUM_MINOR = 29
_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
# Verb, API group, resource and subresource that each component cannot work without: deploy/kubernetes/rbac.yaml.
_NEEDS: dict[str, tuple[tuple[str, str, str, str], ...]] = {
    "messages-processor": (
        ("create", "batch", "jobs", ""),
        ("get", "batch", "jobs", ""),
        ("delete", "batch", "jobs", ""),
        ("delete", "", "pods", ""),
    ),
    "job-status-processor": (("list", "batch", "jobs", ""), ("watch", "batch", "jobs", "")),
    "pod-events-processor": (("list", "", "pods", ""), ("watch", "", "pods", "")),
    "log-collector": (("get", "", "pods", "log"),),
    "sweeper": (("list", "batch", "jobs", ""), ("delete", "batch", "jobs", ""), ("list", "", "pods", "")),
}


class _Version(msgspec.Struct, rename="camel"):
    git_version: str = ""
    major: str = ""
    minor: str = ""


class _ReviewStatus(msgspec.Struct):
    allowed: bool = False


class _Review(msgspec.Struct):
    status: _ReviewStatus


async def examine(client: Client, *, namespaces: Sequence[str | None], components: Collection[str]) -> list[Finding]:
    """Return the findings; if the API server does not answer, only that one. Errors of the cluster are findings."""
    try:
        answer = await client.request("GET", "/version", action="asking the version")
        if not answer.ok:
            raise answers.refusal(answer, action="asking the version")
        version = msgspec.json.decode(answer.body, type=_Version)
        rights = [await _rights(client, namespace, components) for namespace in namespaces]
    except (KjrError, msgspec.MsgspecError) as error:
        remedy = "check KJR_KUBECONFIG, KUBECONFIG or the service account, and the network"
        return [fail("cluster", str(error), remedy)]
    return [_version(version), *rights]


def _version(version: _Version) -> Finding:
    minor = re.match(r"\d+", version.minor)
    if version.major == "1" and minor is not None and int(minor[0]) < MINIMUM_MINOR:
        return warn("cluster", f"Kubernetes {version.git_version} is older than what is tested", "use 1.29 or newer")
    return ok("cluster", f"Kubernetes {version.git_version}")


async def _rights(client: Client, namespace: str | None, components: Collection[str]) -> Finding:
    name = f"rights in {namespace or 'all namespaces'}"
    lacking = []
    needs = {need for component in components for need in _NEEDS.get(component, ())}
    for verb, group, resource, subresource in sorted(needs):
        attributes = {"namespace": namespace or "", "verb": verb, "group": group, "resource": resource}
        if subresource:
            attributes["subresource"] = subresource
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }
        answer = await client.request("POST", _REVIEWS, action="asking what we may", body=msgspec.json.encode(body))
        if not answer.ok:
            raise answers.refusal(answer, action="asking what we may")
        if not msgspec.json.decode(answer.body, type=_Review).status.allowed:
            lacking.append(f"{verb} {resource}{'/' + subresource if subresource else ''}")
    if lacking:
        remedy = "apply the Role of the component and its binding there (deploy/kubernetes)"
        return fail(name, f"we may not {', '.join(lacking)}", remedy)
    return ok(name, f"all {len(needs)} that {', '.join(sorted(components))} need")
