"""Checks of a cluster for `kjr doctor`: whether it answers, its version, and our rights (SelfSubjectAccessReview)."""

import re
from collections.abc import Collection, Mapping, Sequence

import msgspec

from kube_job_runner.adapters.kubernetes import answers
from kube_job_runner.adapters.kubernetes.client import Client
from kube_job_runner.domain.errors import KjrError
from kube_job_runner.ports.checks import CheckResult, ClusterUse, fail, ok, warn

MINIMUM_MINOR = 29
_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
# Verb, API group, resource and subresource that each use cannot do without: deploy/kubernetes/rbac.yaml.
NEEDS: dict[ClusterUse, tuple[tuple[str, str, str, str], ...]] = {
    "create": (
        ("create", "batch", "jobs", ""),
        ("get", "batch", "jobs", ""),
        ("delete", "batch", "jobs", ""),
        ("list", "", "pods", ""),
        ("delete", "", "pods", ""),
    ),
    "watch_jobs": (("list", "batch", "jobs", ""), ("watch", "batch", "jobs", "")),
    "watch_pods": (("list", "", "pods", ""), ("watch", "", "pods", "")),
    "read_logs": (("get", "", "pods", "log"),),
    "reconcile": (("list", "batch", "jobs", ""), ("delete", "batch", "jobs", ""), ("list", "", "pods", "")),
}


class _Version(msgspec.Struct, rename="camel"):
    git_version: str = ""
    major: str = ""
    minor: str = ""


class _ReviewStatus(msgspec.Struct):
    allowed: bool = False


class _Review(msgspec.Struct):
    status: _ReviewStatus


async def run_checks(
    client: Client, *, namespaces: Sequence[str | None], uses: Mapping[str, Collection[ClusterUse]]
) -> list[CheckResult]:
    """Return the results; if the API server does not answer, only that one. Errors of the cluster are results.

    `uses` are what each component, by name, does with the cluster.
    """
    try:
        answer = await client.request("GET", "/version", action="asking for the version")
        if not answer.ok:
            raise answers.refusal(answer, action="asking for the version")
        version = msgspec.json.decode(answer.body, type=_Version)
        rights = [await _rights(client, namespace, uses) for namespace in namespaces]
    except (KjrError, msgspec.MsgspecError) as error:
        remedy = "check KJR_KUBECONFIG, KUBECONFIG or the service account, and the network"
        return [fail("cluster", str(error), remedy)]
    return [_version(version), *rights]


def _version(version: _Version) -> CheckResult:
    minor = re.match(r"\d+", version.minor)
    if version.major == "1" and minor is not None and int(minor[0]) < MINIMUM_MINOR:
        return warn("cluster", f"Kubernetes {version.git_version} is older than what is tested", "use 1.29 or newer")
    return ok("cluster", f"Kubernetes {version.git_version}")


async def _rights(client: Client, namespace: str | None, uses: Mapping[str, Collection[ClusterUse]]) -> CheckResult:
    name = f"rights in {namespace or 'all namespaces'}"
    lacking = []
    needs = {need for of_component in uses.values() for use in of_component for need in NEEDS[use]}
    for verb, group, resource, subresource in sorted(needs):
        attributes = {"namespace": namespace or "", "verb": verb, "group": group, "resource": resource}
        if subresource:
            attributes["subresource"] = subresource
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }
        answer = await client.request("POST", _REVIEWS, action="asking for our rights", body=msgspec.json.encode(body))
        if not answer.ok:
            raise answers.refusal(answer, action="asking for our rights")
        if not msgspec.json.decode(answer.body, type=_Review).status.allowed:
            lacking.append(f"{verb} {resource}{'/' + subresource if subresource else ''}")
    if lacking:
        remedy = "apply the Role of the component and its binding there (deploy/kubernetes)"
        return fail(name, f"we may not {', '.join(lacking)}", remedy)
    return ok(name, f"all {len(needs)} that {', '.join(sorted(uses))} need")
