"""Reads which cluster this is: the uid of a namespace that lives as long as its cluster.

The uid of `kube-system` is the usual identity of a cluster (OpenTelemetry semantic conventions, `k8s.cluster.uid`). Where we
may not read that namespace, the uid of the first watched namespace takes its place.
"""

import msgspec

from kube_job_runner.adapters.kubernetes import answers, api_objects, api_paths
from kube_job_runner.adapters.kubernetes.client import Client
from kube_job_runner.ports import ClusterIdentity

KIND = "kubernetes"
SYSTEM_NAMESPACE = "kube-system"
_decoder = msgspec.json.Decoder(api_objects.Bare)


async def read(client: Client, *, namespaces: tuple[str | None, ...]) -> ClusterIdentity | None:
    """Return the identity of the cluster; None: we may read none of these namespaces. `namespaces` are those of our jobs.

    Raises:
        TemporaryError: the API server did not answer.
    """
    for name in dict.fromkeys((SYSTEM_NAMESPACE, namespaces[0] or "default")):
        uid = await _uid(client, name)
        if uid:
            return ClusterIdentity(kind=KIND, evidence=f"namespace {name}", uid=uid, place=client.server)
    return None


async def _uid(client: Client, name: str) -> str | None:
    action = f"reading the namespace {name}"
    answer = await client.request("GET", api_paths.namespace(name), action=action)
    if answer.missing or (answer.status == 403 and answers.parse_status(answer.body).kind == "Status"):
        return None
    if not answer.ok:
        raise answers.as_temporary(answers.refusal(answer, action=action))
    try:
        return _decoder.decode(answer.body).metadata.uid
    except (msgspec.MsgspecError, ValueError):
        raise answers.temporary(f"{action}: the answer is not a Namespace", delay_seconds=5.0) from None
