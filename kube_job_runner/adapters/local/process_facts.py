"""The facts of local jobs: those that a Kubernetes Job and its pod would have for the same process. Pure.

The texts and codes are those of a kubelet with containerd, so that one failure table serves both.
"""

from __future__ import annotations

from datetime import datetime

from msgspec.structs import replace

from kube_job_runner.domain.facts import Condition, ContainerFacts, JobFacts, PodFacts
from kube_job_runner.domain.names import MAIN_CONTAINER

LOST_CODE = 137
START_CODE = 128
STOPPED_MESSAGE = "the runner stopped while the job ran"
SHIM_LOST_MESSAGE = "the program that runs the local jobs was killed while the job ran"


def image_note(image: str) -> str:
    """Return the message of every local pod."""
    return f"the image {image} is not used: the command runs as a process of this machine"


def waits_for_slot(pod: PodFacts, *, running: int, at: datetime) -> PodFacts:
    """Return a pod whose process must wait for a slot."""
    text = f"{running} processes run already; waiting for a free slot"
    unscheduled = Condition(type="PodScheduled", status="False", reason="Unschedulable", message=text, at=at)
    return replace(pod, phase="Pending", conditions=(unscheduled,))


def scheduled(pod: PodFacts, *, node: str, at: datetime) -> PodFacts:
    """Return a pod whose process is about to be started."""
    container = ContainerFacts(name=MAIN_CONTAINER, state="waiting", reason="ContainerCreating")
    condition = Condition(type="PodScheduled", at=at)
    return replace(pod, phase="Pending", node=node, conditions=(condition,), containers=(container,))


def waits(pod: PodFacts, *, reason: str, message: str) -> PodFacts:
    """Return a pod whose container cannot be created, for a reason with which a kubelet would retry."""
    container = ContainerFacts(name=MAIN_CONTAINER, state="waiting", reason=reason, message=message)
    return replace(pod, phase="Pending", containers=(container,))


def runs(pod: PodFacts, *, at: datetime) -> PodFacts:
    """Return a pod whose process runs."""
    container = ContainerFacts(name=MAIN_CONTAINER, state="running", started_at=at)
    return replace(pod, phase="Running", containers=(container,))


def refused(pod: PodFacts, *, message: str, at: datetime) -> PodFacts:
    """Return a pod whose program could not be started (containerd: StartError, 128)."""
    container = ContainerFacts(
        name=MAIN_CONTAINER,
        state="terminated",
        reason="StartError",
        message=message,
        exit_code=START_CODE,
        finished_at=at,
    )
    return replace(pod, phase="Failed", containers=(container,))


def ended(pod: PodFacts, *, code: int, signal: int, at: datetime) -> PodFacts:
    """Return a pod whose process has ended with `code`; `signal` is 0 unless one killed it."""
    container = ContainerFacts(
        name=MAIN_CONTAINER,
        state="terminated",
        reason="Error" if code else "Completed",
        exit_code=code,
        signal=signal or None,
        started_at=_started_at(pod),
        finished_at=at,
    )
    return replace(pod, phase="Failed" if code else "Succeeded", containers=(container,))


def lost(pod: PodFacts, *, message: str, at: datetime) -> PodFacts:
    """Return a pod whose process ended in an unknown way (kubelet: ContainerStatusUnknown, 137)."""
    container = ContainerFacts(
        name=MAIN_CONTAINER,
        state="terminated",
        reason="ContainerStatusUnknown",
        message=message,
        exit_code=LOST_CODE,
        started_at=_started_at(pod),
        finished_at=at,
    )
    return replace(pod, phase="Failed", containers=(container,))


def job_ended(job: JobFacts, *, succeeded: bool, at: datetime) -> JobFacts:
    """Return a Job with its final conditions, as the Job controller words them."""
    if succeeded:
        text = "Reached expected number of succeeded pods"
        kinds, reason = ("SuccessCriteriaMet", "Complete"), "CompletionsReached"
    else:
        text = "Job has reached the specified backoff limit"
        kinds, reason = ("FailureTarget", "Failed"), "BackoffLimitExceeded"
    return replace(job, conditions=tuple(Condition(kind, "True", reason, text, at) for kind in kinds))


def _started_at(pod: PodFacts) -> datetime | None:
    container = pod.container(MAIN_CONTAINER)
    return container.started_at if container else None
