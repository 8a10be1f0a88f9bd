"""Renders the Kubernetes Job of one attempt as JSON.

It is an allow-list: only fields of `JobSpec`, and fields that we always set, can appear in the Job. The reasons for these
settings are in docs/adr/0004-own-kubernetes-client.md.
"""

from typing import Any

import msgspec

from kube_job_runner.domain import names
from kube_job_runner.domain.spec.field_types import Toleration, Volume
from kube_job_runner.domain.spec.model import Resources
from kube_job_runner.ports import ClusterJob

BACKSTOP_SECONDS = 600
"""How long after our own deadlines the cluster ends a job without us, in case we are down."""
TTL_BACKSTOP_SECONDS = 7 * 86_400
"""How long a finished Job stays in the cluster if we never remove it."""

GPU_RESOURCE = "nvidia.com/gpu"
_CONTAINER_SECURITY = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
_encoder = msgspec.json.Encoder()


def render(job: ClusterJob, *, instance: str, installation: str = "") -> bytes:
    """Return the body of the request that creates the Kubernetes Job of an attempt."""
    spec = job.spec
    labels = labels_of(job, instance=instance, installation=installation)
    metadata = {"labels": labels, "annotations": spec.annotations} if spec.annotations else {"labels": labels}
    timeouts = spec.timeouts
    # The cluster counts the time in which the pod waits for room. Kubernetes begins again when it resumes a suspended Job.
    deadline = timeouts.queue_seconds + timeouts.start_seconds + timeouts.run_seconds + spec.stop_grace_seconds
    deadline += BACKSTOP_SECONDS
    return _encoder.encode(
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {
                "name": job.cluster_name,
                "namespace": job.namespace,
                "labels": labels,
                "annotations": {**spec.annotations, names.SPEC_HASH_ANNOTATION: job.work_hash},
            },
            "spec": {
                "parallelism": 1,
                "completions": 1,
                "backoffLimit": 0,
                "podReplacementPolicy": "Failed",
                "activeDeadlineSeconds": deadline,
                "ttlSecondsAfterFinished": TTL_BACKSTOP_SECONDS,
                "template": {"metadata": metadata, "spec": _pod(job)},
            },
        }
    )


def labels_of(job: ClusterJob, *, instance: str, installation: str = "") -> dict[str, str]:
    """Return the labels of the Job and of its pod: the user's, overridden by ours."""
    made_for = {names.INSTALLATION_LABEL: installation} if installation else {}
    return {
        **job.spec.labels,
        names.MANAGED_BY_LABEL: names.MANAGED_BY,
        names.INSTANCE_LABEL: instance,
        **made_for,
        names.JOB_ID_LABEL: str(job.job_id),
        names.ATTEMPT_LABEL: str(job.attempt),
        names.QUEUE_LABEL: job.queue,
    }


def literal(text: str) -> str:
    """Return `text` escaped, so that it arrives in the container unchanged.

    Kubernetes expands `$(NAME)` in commands, arguments and values of variables, and reads `$$` as one `$`
    (third_party/forked/golang/expansion/expand.go). Every `$` is doubled, not only those before `(`: older versions
    also garble a `$` before a character beyond ASCII.
    """
    return text.replace("$", "$$") if "$" in text else text


def _pod(job: ClusterJob) -> dict[str, Any]:
    spec = job.spec
    affinity = {"nodeAffinity": _avoiding(job.avoid_nodes)} if job.avoid_nodes else None
    return {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": spec.stop_grace_seconds,
        "enableServiceLinks": False,
        "automountServiceAccountToken": spec.service_account is not None,
        "containers": [_container(job)],
        **_given(
            serviceAccountName=spec.service_account,
            nodeSelector=spec.node_selector,
            affinity=affinity,
            tolerations=[_toleration(toleration) for toleration in spec.tolerations],
            volumes=[_volume(volume) for volume in spec.volumes],
        ),
    }


def _given(**fields: Any) -> dict[str, Any]:
    """Return the fields of an object without those that are absent or empty."""
    return {name: value for name, value in fields.items() if value}


def _avoiding(nodes: tuple[str, ...]) -> dict[str, Any]:
    """Return the node affinity that prefers other nodes. It is no requirement, so a job still runs if there is no other.

    A requirement on a field takes exactly one value (core/validation, ValidateNodeFieldSelectorRequirement).
    """
    fields = [{"key": "metadata.name", "operator": "NotIn", "values": [node]} for node in nodes]
    term = {"weight": 100, "preference": {"matchFields": fields}}
    return {"preferredDuringSchedulingIgnoredDuringExecution": [term]}


def _container(job: ClusterJob) -> dict[str, Any]:
    spec = job.spec
    return {
        "name": names.MAIN_CONTAINER,
        "image": spec.image,
        "securityContext": _CONTAINER_SECURITY,
        # The end of the log becomes the message of a failed container. Some failures have no other text (exec format error).
        "terminationMessagePolicy": "FallbackToLogsOnError",
        **_given(
            command=[literal(part) for part in spec.command],
            args=[literal(part) for part in spec.args],
            env=_env(job),
            workingDir=spec.working_dir,
            resources=_resources(spec.resources, memory=job.memory or spec.resources.memory),
            volumeMounts=[_mount(volume) for volume in spec.volumes],
        ),
    }


def _env(job: ClusterJob) -> list[dict[str, Any]]:
    env: list[dict[str, Any]] = [{"name": name, "value": literal(value)} for name, value in job.env.items()]
    env.extend(
        {"name": secret.env, "valueFrom": {"secretKeyRef": {"name": secret.name, "key": secret.key}}}
        for secret in job.spec.secrets
    )
    return env


def _resources(resources: Resources, *, memory: str | None) -> dict[str, dict[str, str]]:
    """Return requests and limits. Memory and disk are limited to their request; cpu has no limit."""
    limits = _given(**{"memory": memory, "ephemeral-storage": resources.ephemeral_storage})
    requests = limits | _given(cpu=resources.cpu)
    if resources.gpu:
        limits[GPU_RESOURCE] = str(resources.gpu)  # for an extended resource the request equals the limit
    return _given(requests=requests, limits=limits)


def _toleration(toleration: Toleration) -> dict[str, Any]:
    value = {"value": toleration.value} if toleration.operator == "Equal" else {}
    seconds = toleration.toleration_seconds  # zero is a value
    bound = {} if seconds is None else {"tolerationSeconds": seconds}
    optional = _given(key=toleration.key, effect=toleration.effect)
    return {"operator": toleration.operator, **optional, **value, **bound}


def _volume(volume: Volume) -> dict[str, Any]:
    rendered: dict[str, Any] = {"name": volume.name}
    if volume.persistent_volume_claim is not None:
        rendered["persistentVolumeClaim"] = {"claimName": volume.persistent_volume_claim, "readOnly": volume.read_only}
    elif volume.config_map is not None:
        rendered["configMap"] = {"name": volume.config_map}
    elif volume.secret is not None:
        rendered["secret"] = {"secretName": volume.secret}
    else:
        empty, medium = volume.empty_dir, "Memory" if volume.empty_dir and volume.empty_dir.memory else None
        rendered["emptyDir"] = _given(medium=medium, sizeLimit=empty.size_limit if empty else None)
    return rendered


def _mount(volume: Volume) -> dict[str, Any]:
    mount = {"name": volume.name, "mountPath": volume.mount_path}
    return mount | _given(readOnly=volume.read_only, subPath=volume.sub_path)
