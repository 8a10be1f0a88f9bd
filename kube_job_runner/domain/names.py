"""Ids and names: how a job, its attempts and its cluster jobs are called, and the labels that tie them together."""

from __future__ import annotations

import base64
import os
import re
import uuid
from datetime import datetime

DOMAIN = "kube-job-runner.io"
MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
MANAGED_BY = "kube-job-runner"
INSTANCE_LABEL = f"{DOMAIN}/instance"
JOB_ID_LABEL = f"{DOMAIN}/job-id"
ATTEMPT_LABEL = f"{DOMAIN}/attempt"
QUEUE_LABEL = f"{DOMAIN}/queue"
SPEC_HASH_ANNOTATION = f"{DOMAIN}/spec-hash"
MAIN_CONTAINER = "main"

RESERVED_LABEL_DOMAINS = ("kubernetes.io", "k8s.io", DOMAIN)
ALLOWED_RESERVED_LABELS = frozenset({"kueue.x-k8s.io/queue-name", "kueue.x-k8s.io/priority-class"})

_SLUG_MAX = 30
_ATTEMPT_MAX = 9999  # keeps <slug>-<26>-<attempt> within the 63 characters of a label value


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
    """Return `name` as a DNS-label prefix of at most 30 characters: lower case, `-` for what is not allowed."""
    text = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:_SLUG_MAX].strip("-")
    return text or "job"


def cluster_job_name(name: str, job_id: uuid.UUID, attempt: int) -> str:
    """Return the name of the Kubernetes Job of one attempt, at most 63 characters, never used twice."""
    if not 1 <= attempt <= _ATTEMPT_MAX:
        raise ValueError(f"attempt {attempt} is outside 1..{_ATTEMPT_MAX}")
    return f"{slug(name)}-{base32_id(job_id)}-{attempt}"


def default_job_name(image: str) -> str:
    """Return a name for a job whose spec gives none: the last part of its image's repository."""
    repository = image.split("@", 1)[0].rsplit("/", 1)[-1].split(":", 1)[0]
    return slug(repository)
