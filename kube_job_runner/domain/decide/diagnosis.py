"""What the facts of an attempt mean: whether it has started, and whether and how it has ended.

A program that ended by itself is read first (`program_end`). Else the places are read in a fixed order, the cause before its
symptom: the pod's status, a disruption, the main container, a deletion, init containers, the Job's condition. A Job's own
`Failed` reason is the answer only where its pod gives none. Exit code, signal and reason are those of the main container:
another container is named, and never speaks for it.
"""

from datetime import datetime
from typing import Any

import msgspec

from kube_job_runner.domain import failures
from kube_job_runner.domain.decide import program_end
from kube_job_runner.domain.facts import AttemptFacts, Condition, ContainerFacts, JobFacts, PodFacts
from kube_job_runner.domain.failures import Finding, Table, Where, ends
from kube_job_runner.domain.job import Verdict
from kube_job_runner.domain.states import State

_NEVER_RAN = ("StartError", "ContainerCannotRun", "ContainerStatusUnknown")


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """How a cluster job ended. `complete_evidence` is False while the facts of its pod may still arrive.

    `job_deleted` says that the Job is gone and was not seen to end, so its pods may still run. `absent` says that the verdict
    rests on something that is not there.
    """

    verdict: Verdict
    complete_evidence: bool = True
    job_deleted: bool = False
    absent: bool = False


def started_at(facts: AttemptFacts) -> datetime | None:
    """Return when the main container started (the node's clock), or None when it has not."""
    for pod in facts.current_pods:
        main = pod.main
        if main is not None and main.state in ("running", "terminated") and main.started_at is not None:
            if main.reason in _NEVER_RAN:
                continue
            return main.started_at
    return None


def node_given_at(facts: AttemptFacts) -> datetime | None:
    """Return when the pod got its node, or at least was made, by the clock of the API server (registry/core/pod, binding)."""
    pod = facts.pod
    if pod is None:
        return None
    scheduled = pod.find_condition("PodScheduled")
    bound = scheduled.at if scheduled is not None and scheduled.status == "True" else None
    return bound or pod.created_at


def started_again(facts: AttemptFacts, known: datetime) -> bool:
    """Return whether the main container started again after a suspension; `known` is the start before it."""
    resumed_at = facts.job.resumed_at if facts.job is not None else None
    return resumed_at is not None and known < resumed_at and (started_at(facts) or resumed_at) > known


def has_started(facts: AttemptFacts) -> bool:
    """Return whether the main container has ever run."""
    for pod in facts.current_pods:
        main = pod.main
        if main is not None and (main.state == "running" or main.restarts > 0):
            return True
    return started_at(facts) is not None


def finished_at(facts: AttemptFacts) -> datetime | None:
    """Return when the main container ended (the node's clock), or None."""
    pod = program_end.ended_pod(facts) or facts.pod
    return pod.main.finished_at if pod is not None and pod.main is not None else None


def finishing(facts: AttemptFacts) -> bool:
    """Return whether a Job is about to get its terminal condition.

    The Job controller needs a moment: it first says `SuccessCriteriaMet` or `FailureTarget`, and writes the terminal
    condition once its pods are accounted for (pkg/controller/job, up to a second after the pod).
    """
    job, pod = facts.job, facts.pod
    if job is None or job.deleting or job.gone:
        return False
    if job.condition("SuccessCriteriaMet") or job.condition("FailureTarget"):
        return True
    return pod is not None and pod.phase in ("Succeeded", "Failed") and not pod.deleting and not pod.gone


def own_end(facts: AttemptFacts, table: Table = failures.TABLE) -> Verdict | None:
    """Return the verdict on a program that ended by itself, whatever its Job says; None when none did."""
    pod = program_end.ended_pod(facts)
    return _of_program(pod, table) if pod is not None else None


def others_running(facts: AttemptFacts) -> tuple[str, ...]:
    """Return the names of the containers that keep a pod whose program has ended by itself."""
    pod = program_end.ended_pod(facts)
    if pod is None or pod.ended:
        return ()
    return tuple(c.name for c in pod.containers if c is not pod.main and c.state not in ("terminated", ""))


def ending(facts: AttemptFacts, table: Table = failures.TABLE) -> Ending | None:
    """Return how the cluster job ended (by its terminal condition, or because it is gone), or None while it has not."""
    job = facts.job
    if job is None:
        return None
    if job.condition("Complete"):
        return _complete(facts)
    failed = job.condition("Failed")
    if failed:
        return _failed(facts, job, failed, table)
    if job.gone:
        told = own_end(facts, table) or failed_pod(facts, table)
        return Ending(verdict=told or ends.JOB_DELETED.verdict(), job_deleted=True, absent=told is None)
    return None


def failed_pod(facts: AttemptFacts, table: Table = failures.TABLE) -> Verdict | None:
    """Return what a pod says that failed before anybody deleted it, whatever its Job says; None when there is none."""
    job, pod = facts.job, facts.pod
    if job is None or pod is None or pod.phase != "Failed" or not pod.showed_end_first:
        return None
    return _of_pod(facts, job, table)


def _complete(facts: AttemptFacts) -> Ending:
    pod = program_end.ended_pod(facts) or facts.pod
    code = program_end.exit_code(pod) if pod is not None else None
    verdict = ends.COMPLETED.verdict(exit_code=code or 0)
    notice = _notice(pod) if pod is not None else ""
    return Ending(
        verdict=msgspec.structs.replace(verdict, explanation=notice), complete_evidence=pod is not None and pod.ended
    )


def _failed(facts: AttemptFacts, job: JobFacts, failed: Condition, table: Table) -> Ending:
    own = own_end(facts, table)
    if own is not None and own.outcome is not State.SUCCEEDED:
        return Ending(verdict=own)
    if failed.reason == "DeadlineExceeded":
        # The deadline ended the pod. The signal that killed it is a symptom, which may or may not have been seen.
        found = classify(table, "job.condition", failed.reason, failed.message or failed.reason)
        if own is not None or found is not None:
            return Ending(verdict=own or verdict_of(found))  # type: ignore[arg-type]
    pod = program_end.ended_pod(facts)
    if own is not None and pod is not None:
        if program_end.was_removed(pod):
            return Ending(verdict=own)  # what another container still did ended with the pod
        # The Job failed though its program did not: the last state of another container is still missing.
        unseen = _other_failed("Another container failed.", program_code=0)
        return Ending(verdict=unseen, complete_evidence=pod.ended)
    verdict = _of_pod(facts, job, table)
    if verdict is not None:
        return Ending(verdict=verdict)
    lost = ends.POD_LOST.verdict(message=failed.message or failed.reason)
    return Ending(verdict=lost, complete_evidence=facts.pod is not None and facts.pod.gone, absent=True)


def classify(table: Table, where: Where, reason: str, message: str, **details: Any) -> Finding | None:
    """Return what the table says of a signal; None also if its row says that the signal alone means nothing."""
    found = table.classify(where, reason, message, **details)
    return None if found is None or found.category == "unknown" else found


def verdict_of(
    found: Finding, *, exit_code: int | None = None, signal: int | None = None, explanation: str = ""
) -> Verdict:
    """Return the verdict on an attempt that failed because of a finding; `explanation` replaces that of its rule."""
    return Verdict(
        outcome=State.FAILED,
        reason=found.reason,
        explanation=explanation or found.explanation,
        exit_code=exit_code,
        signal=signal,
        cause=found.rule.cause,
        rule=found.rule.name,
    )


def node_silent(pod: PodFacts, table: Table) -> Verdict:
    """Return the verdict on a pod that its node does not end, long after it should have."""
    due = f"{pod.deletion_due_at:%Y-%m-%d %H:%M:%S} UTC" if pod.deletion_due_at is not None else "now"
    message = f"its pod {pod.name} was to end by {due} and is still there"
    found = table.classify("pod.status", "NodeLost", message, node=pod.node)
    return verdict_of(found) if found is not None else ends.POD_LOST.verdict(message=message)


def _of_program(pod: PodFacts, table: Table) -> Verdict:
    """Return the verdict on a program that ended by itself: its own, unless it ended well and another container failed."""
    code = program_end.exit_code(pod)
    if code and pod.main is not None:
        return _terminated(pod, pod.main, table)
    for other in pod.containers:
        if other is not pod.main and not other.sidecar and program_end.failed_alone(pod, other):
            return _other_failed(_what_failed(pod, other, table), program_code=0)
    return msgspec.structs.replace(ends.COMPLETED.verdict(exit_code=0), explanation=_notice(pod))


def _of_pod(facts: AttemptFacts, job: JobFacts, table: Table) -> Verdict | None:
    """Return what the newest pod of a failed Job says, or None while its last state is not known."""
    pod = facts.pod
    if pod is None:
        return None
    main = pod.main if pod.main is not None and pod.main.state == "terminated" else None
    code = main.exit_code if main is not None else None
    disrupted = _disruption(pod, code, table)
    if disrupted is not None:
        return disrupted
    prevented = _init_failed(pod, table) if not has_started(facts) else None
    if prevented is not None:
        return prevented
    if main is not None and code and (main.reason in _NEVER_RAN or not pod.deletion_asked):
        return _terminated(pod, main, table)
    if pod.deletion_asked and (main is not None or pod.ended):
        return (ends.JOB_DELETED if job.deleting else ends.POD_DELETED).verdict(exit_code=code)
    return None  # how the program ended is not known, and no other container tells it


def _init_failed(pod: PodFacts, table: Table) -> Verdict | None:
    """Return the verdict on a pod whose init container failed, so that its program was never started, or None."""
    for other in pod.containers:
        if other.init and not other.sidecar and other.state == "terminated" and other.exit_code not in (0, None):
            found = _classify_end(pod, other, table)
            if found is not None and found.verdict == "retry_free":
                return verdict_of(found)
            return _other_failed(_what_failed(pod, other, table), program_code=None)
    return None


def _disruption(pod: PodFacts, code: int | None, table: Table) -> Verdict | None:
    """Return the verdict on a pod that the node or the cluster ended."""
    if pod.phase == "Failed" and pod.reason:
        found = classify(table, "pod.status", pod.reason, pod.message, node=pod.node)
        if found is not None:
            return verdict_of(found, exit_code=code)
    disrupted = pod.find_condition("DisruptionTarget")
    if disrupted is None or disrupted.status != "True" or not pod.ended:
        return None
    found = classify(table, "pod.condition", disrupted.reason, disrupted.message, node=pod.node)
    if found is not None:
        return verdict_of(found, exit_code=code)
    moved = ends.DISRUPTED.verdict(node=pod.node or "(none)", reason=disrupted.reason, message=disrupted.message)
    return msgspec.structs.replace(moved, exit_code=code)


def _notice(pod: PodFacts) -> str:
    """Return what the cluster did to a program that ended with exit code 0, or nothing."""
    main = pod.main
    if main is not None and main.reason == "OOMKilled":
        return "The program ended with exit code 0, but the kernel killed one of its processes at the memory limit (OOMKilled)."
    if program_end.ended_by_itself(pod):
        return ""
    disrupted = pod.find_condition("DisruptionTarget")
    if disrupted is not None and disrupted.status == "True":
        why = f"{disrupted.reason}: {disrupted.message}".rstrip(": .")
        return (
            f"Its pod was being moved off node {pod.node or '(none)'} ({why}), so the program may have stopped early."
        )
    if pod.deletion_asked:
        return "Its pod was being deleted, so the program may have stopped early."
    return ""


def _other_failed(failed: str, *, program_code: int | None) -> Verdict:
    """Return the verdict on an attempt that another container failed. A program that ended well is not run again."""
    if program_code is None:
        return ends.OTHER_CONTAINER_FAILED.verdict(failed=failed, program="The program was not started.")
    program = f"The program itself ended with exit code {program_code}."
    verdict = ends.OTHER_CONTAINER_FAILED.verdict(exit_code=program_code, failed=failed, program=program)
    return msgspec.structs.replace(verdict, cause="permanent")


def _what_failed(pod: PodFacts, container: ContainerFacts, table: Table) -> str:
    found = _classify_end(pod, container, table)
    return found.explanation if found else f"Container {container.name} exited with code {container.exit_code}."


def _terminated(pod: PodFacts, container: ContainerFacts, table: Table) -> Verdict:
    code, number = container.exit_code or 0, _signal(container)
    found = _classify_end(pod, container, table)
    if found is not None:
        # A container that never ran, or whose end nobody saw, has no exit code of its own.
        ran = found.verdict == "application" or container.reason == "Error"
        return verdict_of(found, exit_code=code if ran else None, signal=number if ran else None)
    return ends.APPLICATION_EXIT.verdict(exit_code=code, signal=number, container=container.name)


def _classify_end(pod: PodFacts, container: ContainerFacts, table: Table) -> Finding | None:
    return classify(
        table,
        "container.terminated",
        container.reason,
        container.message,
        exit_code=container.exit_code or 0,
        ran_seconds=_ran_seconds(container),
        container=container.name,
        node=pod.node,
        signal=_signal(container),
    )


def _signal(container: ContainerFacts) -> int | None:
    code = container.exit_code or 0
    return container.signal or (code - 128 if 128 < code <= 128 + 64 else None)


def _ran_seconds(container: ContainerFacts) -> float | None:
    """Return how long a container ran, in seconds; None when it never started."""
    if container.started_at is None or container.reason in _NEVER_RAN:
        return None
    if container.finished_at is None:
        return float("inf")
    return (container.finished_at - container.started_at).total_seconds()
