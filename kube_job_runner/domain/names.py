"""Ids and names of jobs, attempts and cluster jobs, and the labels that connect them."""

import base64
import os
import re
import uuid
from datetime import datetime

DOMAIN = "kube-job-runner.io"
MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
MANAGED_BY = "kube-job-runner"
INSTANCE_LABEL = f"{DOMAIN}/instance"
INSTALLATION_LABEL = f"{DOMAIN}/installation"
JOB_ID_LABEL = f"{DOMAIN}/job-id"
ATTEMPT_LABEL = f"{DOMAIN}/attempt"
QUEUE_LABEL = f"{DOMAIN}/queue"
SPEC_HASH_ANNOTATION = f"{DOMAIN}/spec-hash"
MAIN_CONTAINER = "main"

RESERVED_LABEL_DOMAINS = ("kubernetes.io", "k8s.io", DOMAIN)
ALLOWED_RESERVED_LABELS = frozenset({"kueue.x-k8s.io/queue-name", "kueue.x-k8s.io/priority-class"})

JOB_CONTROLLER_LABELS = frozenset({"job-name", "controller-uid"})
"""Labels without a prefix that the API server sets on every Job, and refuses from others (batch/v1, generated selectors)."""

_SLUG_MAX = 25
# Kubernetes cuts the name of a Job to 58 characters before it appends five random ones for a pod (storage/names of
# k8s.io/apiserver). The slug is so short that the id and the attempt are never cut.
_ATTEMPT_MAX = 9999
_CLUSTER_NAME = re.compile(r"(?:[a-z0-9]|[a-z0-9][-a-z0-9]*[a-z0-9])-([a-z2-7]{26})-([1-9][0-9]{0,3})", re.ASCII)
_POD_SUFFIX = re.compile(r"-[a-z0-9]{5}\Z", re.ASCII)


def new_job_id(now: datetime) -> uuid.UUID:
    """Return a UUIDv7 (RFC 9562): 48 bits of Unix milliseconds of `now`, then random bits, so ids sort by submit time."""
    milliseconds = int(now.timestamp() * 1000)
    value = (milliseconds & ((1 << 48) - 1)) << 80 | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF000 << 64) | (0x7000 << 64)
    value = value & ~(0xC000 << 48) | (0x8000 << 48)
    return uuid.UUID(int=value)


def base32_id(job_id: uuid.UUID) -> str:
    """Return the 26-character lower-case base32 form of an id (RFC 4648 alphabet, no padding): a valid DNS label part."""
    return base64.b32encode(job_id.bytes).decode("ascii").rstrip("=").lower()


def slug(name: str) -> str:
    """Return `name` as a DNS-label prefix of at most 25 characters: lower case, `-` for what is not allowed."""
    text = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:_SLUG_MAX].strip("-")
    return text or "job"


def cluster_job_name(name: str, job_id: uuid.UUID, attempt: int) -> str:
    """Return the name of the Kubernetes Job of one attempt, at most 57 characters, never used twice."""
    if not 1 <= attempt <= _ATTEMPT_MAX:
        raise ValueError(f"attempt {attempt} is outside 1..{_ATTEMPT_MAX}")
    return f"{slug(name)}-{base32_id(job_id)}-{attempt}"


def attempt_of_job(cluster_name: str) -> tuple[uuid.UUID, int] | None:
    """Return the job id and attempt that a cluster job of that name belongs to, or None when it is no name of ours."""
    found = _CLUSTER_NAME.fullmatch(cluster_name)
    if found is None:
        return None
    job_id = uuid.UUID(bytes=base64.b32decode(found[1].upper() + "======"))
    if job_id.version != 7 or base32_id(job_id) != found[1]:
        return None
    return job_id, int(found[2])


def attempt_of_pod(pod_name: str) -> tuple[uuid.UUID, int] | None:
    """Return the job id and attempt of a pod by its name (the cluster job's, and five characters), or None."""
    cluster_name, cut = _POD_SUFFIX.subn("", pod_name)
    return attempt_of_job(cluster_name) if cut else None


def default_job_name(image: str) -> str:
    """Return a name for a job whose spec gives none: the last part of its image's repository."""
    repository = image.split("@", 1)[0].rsplit("/", 1)[-1].split(":", 1)[0]
    return slug(repository)
