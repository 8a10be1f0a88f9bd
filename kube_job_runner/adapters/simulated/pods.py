"""The facts of simulated pods and Jobs, state by state, with the texts of real kubelets and controllers. Pure."""

from datetime import datetime

from msgspec.structs import replace

from kube_job_runner.adapters.inprocess import pod_states
from kube_job_runner.adapters.simulated.script import Script
from kube_job_runner.domain.facts import Condition, JobFacts, PodFacts

NODE = "sim-node-0"
UNSCHEDULABLE_MESSAGE = "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available"
REFUSED_MESSAGE = (
    "Error creating: pods is forbidden: exceeded quota: compute, requested: pods=1, used: pods=1, limited: pods=1"
)


def scheduled(pod: PodFacts, *, at: datetime) -> PodFacts:
    """Return a pod that has a node."""
    return replace(pod, node=NODE, conditions=(Condition("PodScheduled", at=at),))


def unschedulable(pod: PodFacts, *, at: datetime) -> PodFacts:
    """Return a pod that fits on no node."""
    unscheduled = Condition("PodScheduled", "False", "Unschedulable", UNSCHEDULABLE_MESSAGE, at)
    return replace(pod, conditions=(unscheduled,))


def finished(pod: PodFacts, script: Script, *, at: datetime) -> PodFacts:
    """Return a pod that ended as its script says."""
    if script.mode == "evicted":
        pod = replace(
            pod,
            reason="Evicted",
            message="The node was low on resource: memory.",
            conditions=(*pod.conditions, Condition("DisruptionTarget", "True", "TerminationByKubelet", at=at)),
        )
        return pod_states.terminated(pod, code=137, reason="Error", at=at)
    reason = (script.reason or "Error") if script.exit_code else "Completed"
    return pod_states.terminated(pod, code=script.exit_code, reason=reason, message=script.message, at=at)


def stopped(pod: PodFacts, *, code: int, at: datetime) -> PodFacts:
    """Return a pod that was deleted. If it had not started, it ends as ContainerStatusUnknown (kubelet_pods.go)."""
    if pod.phase == "Pending":
        message = "The container could not be located when the pod was terminated"
        return pod_states.terminated(pod, code=137, reason="ContainerStatusUnknown", message=message, at=at)
    return pod_states.terminated(pod, code=code, reason="Error" if code else "Completed", at=at)


def criteria_met(job: JobFacts, *, succeeded: bool, at: datetime) -> JobFacts:
    """Return a Job that is about to end (the first condition since Kubernetes 1.31)."""
    if succeeded:
        first = Condition("SuccessCriteriaMet", "True", "CompletionsReached", "", at)
    else:
        first = Condition("FailureTarget", "True", "BackoffLimitExceeded", "", at)
    return replace(job, conditions=(first,))


def concluded(job: JobFacts, *, at: datetime) -> JobFacts:
    """Return a Job with the terminal condition that follows its first one."""
    first = job.conditions[0]
    kind = "Complete" if first.type == "SuccessCriteriaMet" else "Failed"
    text = "Job has reached the specified backoff limit" if kind == "Failed" else ""
    return replace(job, conditions=(first, Condition(kind, "True", first.reason, text, at)))
