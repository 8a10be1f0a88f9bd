"""The facts of local jobs: those that a Kubernetes Job and its pod would have for the same process. Pure.

The texts and codes are those of a kubelet with containerd, so that one failure table serves both.
"""

from datetime import datetime

from msgspec.structs import replace

from kube_job_runner.adapters.inprocess import pod_states
from kube_job_runner.domain.facts import Condition, JobFacts, PodFacts

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
    placed = replace(pod, phase="Pending", node=node, conditions=(Condition(type="PodScheduled", at=at),))
    return pod_states.waiting(placed, reason="ContainerCreating")


def refused(pod: PodFacts, *, message: str, at: datetime) -> PodFacts:
    """Return a pod whose program could not be started (containerd: StartError, 128)."""
    return pod_states.terminated(pod, code=START_CODE, reason="StartError", message=message, at=at)


def ended(pod: PodFacts, *, code: int, signal: int, at: datetime) -> PodFacts:
    """Return a pod whose process has ended with `code`; `signal` is 0 unless one killed it."""
    reason = "Error" if code else "Completed"
    return pod_states.terminated(pod, code=code, reason=reason, signal=signal or None, at=at)


def lost(pod: PodFacts, *, message: str, at: datetime) -> PodFacts:
    """Return a pod whose process ended in an unknown way (kubelet: ContainerStatusUnknown, 137)."""
    return pod_states.terminated(pod, code=LOST_CODE, reason="ContainerStatusUnknown", message=message, at=at)


def job_ended(job: JobFacts, *, succeeded: bool, at: datetime) -> JobFacts:
    """Return a Job with its final conditions, as the Job controller words them."""
    if succeeded:
        text = "Reached expected number of succeeded pods"
        kinds, reason = ("SuccessCriteriaMet", "Complete"), "CompletionsReached"
    else:
        text = "Job has reached the specified backoff limit"
        kinds, reason = ("FailureTarget", "Failed"), "BackoffLimitExceeded"
    return replace(job, conditions=tuple(Condition(kind, "True", reason, text, at) for kind in kinds))
