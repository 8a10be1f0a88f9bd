"""Reads the pods of one cluster job, for a look.

The API server gives each pod of a Job the label with the uid of its Job, and the Job controller takes a pod without it for a
stranger (batch/v1, strategy of Jobs). So it is safer than our own labels, which a webhook may change.

Without a resource version the list comes from a quorum, not from the cache of one API server (Kubernetes API concepts,
"Resource versions").
"""

from urllib.parse import quote

import msgspec

from kube_job_runner.adapters.kubernetes import answers, api_paths, decode
from kube_job_runner.adapters.kubernetes.client import Client
from kube_job_runner.domain.facts import PodFacts
from kube_job_runner.telemetry import loggers

PODS_MAX = 50
"""Of one cluster job, which has one pod, and more only after a replacement."""
CONTROLLER_UID_LABEL = "batch.kubernetes.io/controller-uid"

_log = loggers.get_logger(__name__)


async def pods_of(client: Client, namespace: str, *, cluster_uid: str) -> tuple[PodFacts, ...] | None:
    """Return the pods that were made for the Job with that uid; None when we have no right to list pods.

    Raises:
        TemporaryError: the cluster did not answer.
    """
    action = f"listing the pods of the Job with uid {cluster_uid}"
    selector = f"{CONTROLLER_UID_LABEL}={cluster_uid}"
    target = f"{api_paths.pods(namespace)}?labelSelector={quote(selector, safe='')}&limit={PODS_MAX}"
    answer = await client.request("GET", target, action=action)
    if answer.status == 403 and answers.parse_status(answer.body).reason == "Forbidden":
        _log.warning(
            "pods cannot be looked at: the right to list them is missing", action="job.look", namespace=namespace
        )
        return None
    if not answer.ok:
        raise answers.as_temporary(answers.refusal(answer, action=action))
    try:
        page = decode.PODS.page(answer.body)
    except (msgspec.MsgspecError, ValueError):
        raise answers.temporary(f"{action}: the answer is not a list of pods", delay_seconds=5.0) from None
    if page.unreadable:
        raise answers.temporary(f"{action}: a pod cannot be read", delay_seconds=5.0)
    return tuple(item.facts for item in page.items)
