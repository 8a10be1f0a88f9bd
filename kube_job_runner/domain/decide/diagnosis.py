"""What the facts of an attempt mean: whether it has started, and whether and how it has ended.

The places are read in a fixed order, the cause before its symptom: the pod's status, a disruption, init containers, the main
container, the Job's condition. A Job's own `Failed` reason is the answer only where its pod gives none.
"""

from datetime import datetime
from typing import Any

import msgspec

from kube_job_runner.domain import failures, names
from kube_job_runner.domain.facts import AttemptFacts, Condition, ContainerFacts, PodFacts
from kube_job_runner.domain.failures import Finding, Table, Where, ends
from kube_job_runner.domain.job import Verdict
from kube_job_runner.domain.states import State


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """How a cluster job ended. `complete_evidence` is False while the facts of its pod may still arrive."""

    verdict: Verdict
    complete_evidence: bool = True


def started_at(facts: AttemptFacts) -> datetime | None:
    """Return when the main container started (the node's clock), or None when it has not."""
    for pod in facts.current_pods:
        main = pod.main
        if main is not None and main.state in ("running", "terminated") and main.started_at is not None:
            if main.reason in ("StartError", "ContainerStatusUnknown"):
                continue
            return main.started_at
    return None


def started_again(facts: AttemptFacts, known: datetime) -> bool:
    """Return whether the main container started anew after a suspension; `known` is the start before it."""
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
    main = facts.main
    return main.finished_at if main else None


def finishing(facts: AttemptFacts) -> bool:
    """Return whether the program has ended by itself while its Job has no terminal condition yet.

    The Job controller needs a moment: it first says `SuccessCriteriaMet` or `FailureTarget`, and writes the terminal
    condition once its pods are accounted for (pkg/controller/job, up to a second after the pod).
    """
    job, pod = facts.job, facts.pod
    if job is None or job.deleting or job.gone:
        return False
    if job.condition("SuccessCriteriaMet") or job.condition("FailureTarget"):
        return True
    return pod is not None and pod.phase in ("Succeeded", "Failed") and not pod.deleting and not pod.gone


def ending(facts: AttemptFacts, table: Table = failures.TABLE) -> Ending | None:
    """Return how the cluster job ended (by its terminal condition, or because it is gone), or None while it has not."""
    job = facts.job
    if job is None:
        return None
    if job.condition("Complete"):
        main = facts.main
        exit_code = main.exit_code if main and main.exit_code is not None else 0
        return Ending(
            verdict=ends.COMPLETED.verdict(exit_code=exit_code),
            complete_evidence=facts.pod is not None and facts.pod.ended,
        )
    failed = job.condition("Failed")
    if failed:
        return _failed(facts, failed, table)
    if job.gone:
        return Ending(verdict=ends.JOB_DELETED.verdict())
    return None


def _failed(facts: AttemptFacts, failed: Condition, table: Table) -> Ending:
    if failed.reason == "DeadlineExceeded":
        # The deadline ended the pod. The signal that killed it is a symptom, which may or may not have been seen.
        found = classify(table, "job.condition", failed.reason, failed.message or failed.reason)
        if found is not None:
            return Ending(verdict=verdict_of(found))
    verdict = _pod_verdict(facts.pod, table)
    if verdict is not None:
        return Ending(verdict=verdict)
    lost = ends.POD_LOST.verdict(message=failed.message or failed.reason)
    return Ending(verdict=lost, complete_evidence=facts.pod is not None and facts.pod.gone)


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


def _pod_verdict(pod: PodFacts | None, table: Table) -> Verdict | None:
    if pod is None:
        return None
    exit_code = pod.main.exit_code if pod.main else None
    if pod.phase == "Failed" and pod.reason:
        found = classify(table, "pod.status", pod.reason, pod.message, node=pod.node)
        if found is not None:
            return verdict_of(found, exit_code=exit_code)
    disrupted = pod.find_condition("DisruptionTarget")
    if disrupted is not None and disrupted.status == "True" and pod.ended:
        found = classify(table, "pod.condition", disrupted.reason, disrupted.message, node=pod.node)
        if found is not None:
            return verdict_of(found, exit_code=exit_code)
        return ends.DISRUPTED.verdict(node=pod.node or "(none)", reason=disrupted.reason, message=disrupted.message)
    ended = [c for c in pod.containers if c.state == "terminated" and c.exit_code not in (0, None) and not c.sidecar]
    if not ended:
        return None
    # A failed init container is the reason why the others never ran. After them, the main container is read first.
    first = min(ended, key=lambda c: (not c.init, c.name != names.MAIN_CONTAINER))
    return _terminated(pod, first, table)


def _terminated(pod: PodFacts, container: ContainerFacts, table: Table) -> Verdict:
    code = container.exit_code or 0
    number = container.signal or (code - 128 if 128 < code <= 128 + 64 else None)
    found = classify(
        table,
        "container.terminated",
        container.reason,
        container.message,
        exit_code=code,
        container=container.name,
        node=pod.node,
        signal=number,
    )
    if found is not None:
        # A container that never ran, or whose end nobody saw, has no exit code of its own.
        ran = found.verdict == "application" or container.reason == "Error"
        return verdict_of(found, exit_code=code if ran else None, signal=number if ran else None)
    return ends.APPLICATION_EXIT.verdict(exit_code=code, signal=number, container=container.name)
