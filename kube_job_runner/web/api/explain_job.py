"""`GET /v1/jobs/{id}/explanation`: what happened to a job, or why it waits, with all evidence."""

from collections.abc import Sequence
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from kube_job_runner.domain.facts import Condition, ContainerFacts, EventFacts, PodFacts
from kube_job_runner.domain.failures import categories, codes
from kube_job_runner.domain.job import Attempt, Verdict
from kube_job_runner.domain.states import State
from kube_job_runner.services.explainer import Explainer, Explanation, Judged
from kube_job_runner.web.api.job_view import Cause, JobPath, Time, view_of
from kube_job_runner.web.api.problem_types import DOWN
from kube_job_runner.web.kit.handling import Call, Nothing, Reply
from kube_job_runner.web.kit.operations import Operation

_WITH_REMEDY = (State.QUEUED, State.STARTING, State.FAILED)
ChargedTo = Literal["attempts", "infrastructure"]


class ConditionView(msgspec.Struct, frozen=True, kw_only=True):
    """A condition of a Job, a Pod or a Node."""

    type: Annotated[str, Meta(description="The type, such as `PodScheduled`.")]
    status: Annotated[str, Meta(description="`True`, `False` or `Unknown`.")]
    reason: Annotated[str | None, Meta(description="The reason in the words of Kubernetes.")]
    message: Annotated[str | None, Meta(description="The message in the words of Kubernetes.")]
    at: Annotated[Time | None, Meta(description="When it last changed.")]


class ContainerView(msgspec.Struct, frozen=True, kw_only=True):
    """A container as it was last seen."""

    name: Annotated[str, Meta(description="The name; that of the job's own container is `main`.")]
    kind: Annotated[Literal["init", "sidecar", "main"], Meta(description="What it is in its pod.")]
    state: Annotated[str | None, Meta(description="`waiting`, `running` or `terminated`.")]
    reason: Annotated[str | None, Meta(description="The reason in the words of Kubernetes.")]
    message: Annotated[str | None, Meta(description="The message in the words of Kubernetes.")]
    exit_code: Annotated[int | None, Meta(description="Its exit code, once it has ended.")]
    signal: Annotated[int | None, Meta(description="The number of the signal that killed it, if one did.")]
    restarts: Annotated[int, Meta(description="How often it was restarted.")]
    started_at: Annotated[Time | None, Meta(description="When it started.")]
    finished_at: Annotated[Time | None, Meta(description="When it ended.")]


class PodView(msgspec.Struct, frozen=True, kw_only=True):
    """A pod as it was last seen."""

    name: Annotated[str, Meta(description="Its name.")]
    uid: Annotated[str, Meta(description="Its UID.")]
    phase: Annotated[str | None, Meta(description="Its phase, such as `Running`.")]
    reason: Annotated[str | None, Meta(description="The reason in the words of Kubernetes, such as `Evicted`.")]
    message: Annotated[str | None, Meta(description="The message in the words of Kubernetes.")]
    node: Annotated[str | None, Meta(description="Its node.")]
    created_at: Annotated[Time | None, Meta(description="When it was created.")]
    gone: Annotated[bool, Meta(description="Whether it has left the cluster.")]
    conditions: Annotated[list[ConditionView], Meta(description="Its conditions.")]
    containers: Annotated[list[ContainerView], Meta(description="Its containers.")]


class EventView(msgspec.Struct, frozen=True, kw_only=True):
    """A Kubernetes Event about the Kubernetes Job or its pod."""

    type: Annotated[str, Meta(description="`Normal` or `Warning`.")]
    reason: Annotated[str, Meta(description="The reason, such as `FailedScheduling`.")]
    message: Annotated[str, Meta(description="The text.")]
    object: Annotated[str, Meta(description="Kind and name of the object that it is about: `Pod/etl-x`.")]
    count: Annotated[int, Meta(description="How often it was seen.")]
    first_at: Annotated[Time | None, Meta(description="When it was first seen.")]
    last_at: Annotated[Time | None, Meta(description="When it was last seen.")]


class ClusterJobView(msgspec.Struct, frozen=True, kw_only=True):
    """The Kubernetes Job of an attempt."""

    namespace: Annotated[str, Meta(description="Its namespace.")]
    name: Annotated[str, Meta(description="Its name.")]
    uid: Annotated[str | None, Meta(description="Its UID; null until it is known to exist.")]
    created_at: Annotated[Time | None, Meta(description="When it was created.")]
    gone_at: Annotated[Time | None, Meta(description="When it was known to have left the cluster.")]
    conditions: Annotated[list[ConditionView], Meta(description="Its conditions.")]


class JudgementView(msgspec.Struct, frozen=True, kw_only=True):
    """The verdict about an attempt, the budget that it was charged to, and what followed."""

    outcome: Annotated[State, Meta(description="`succeeded`, `failed` or `cancelled`.")]
    reason: Annotated[str, Meta(description="The reason code.")]
    category: Annotated[str, Meta(description="The reason in snake_case: the name of its manual page.")]
    explanation: Annotated[str, Meta(description="One sentence with the cause and what to do.")]
    exit_code: Annotated[int | None, Meta(description="The exit code of the container, if it has one.")]
    signal: Annotated[int | None, Meta(description="The number of the signal that killed the container, if one did.")]
    cause: Annotated[Cause | None, Meta(description="Whose failure it is; null when the attempt did not fail.")]
    rule: Annotated[str | None, Meta(description="The row of the failure table that matched.")]
    charged_to: Annotated[ChargedTo | None, Meta(description="Which budget of retries it was charged to.")]
    retried: Annotated[bool, Meta(description="Whether another attempt followed.")]
    followed: Annotated[str, Meta(description="What followed, and why.")]
    decided_at: Annotated[Time | None, Meta(description="When the verdict was recorded.")]


class NodeView(msgspec.Struct, frozen=True, kw_only=True):
    """The node of a pod that was evicted, preempted or lost, as it was at that moment."""

    name: Annotated[str, Meta(description="Its name.")]
    seen_at: Annotated[Time, Meta(description="When it was read.")]
    conditions: Annotated[list[ConditionView], Meta(description="Its conditions.")]


class LinesView(msgspec.Struct, frozen=True, kw_only=True):
    """The last lines that a container wrote."""

    container: Annotated[str, Meta(description="The name of the container.")]
    lines: Annotated[list[str], Meta(description="The lines, oldest first.")]


class EvidenceView(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is known about one attempt."""

    number: Annotated[int, Meta(description="The number of the attempt.")]
    verdict: Annotated[JudgementView | None, Meta(description="The verdict about it; null while it runs.")]
    node: Annotated[str | None, Meta(description="The node of its pod.")]
    memory: Annotated[str | None, Meta(description="The memory that it got instead of that of its spec.")]
    started_at: Annotated[Time | None, Meta(description="When its container started.")]
    finished_at: Annotated[Time | None, Meta(description="When its container ended.")]
    cluster_job: Annotated[ClusterJobView, Meta(description="Its Kubernetes Job.")]
    pods: Annotated[list[PodView], Meta(description="Its pods, as they were last seen.")]
    events: Annotated[list[EventView], Meta(description="Kubernetes Events about its Job and its pods.")]
    nodes: Annotated[list[NodeView], Meta(description="The nodes of pods that were evicted, preempted or lost.")]
    last_lines: Annotated[list[LinesView], Meta(description="The last lines of its containers.")]


class AnomalyView(msgspec.Struct, frozen=True, kw_only=True):
    """Evidence that came later and contradicts the recorded end of the job. It changed nothing."""

    attempt: Annotated[int, Meta(description="The number of the attempt.")]
    kind: Annotated[str, Meta(description="What kind of contradiction it is.")]
    detail: Annotated[str, Meta(description="What was seen.")]
    at: Annotated[Time, Meta(description="When it was seen.")]


class ExplanationView(msgspec.Struct, frozen=True, kw_only=True):
    """What happened to a job, or why it still waits: one sentence, and the evidence for each attempt."""

    job_id: Annotated[UUID, Meta(description="The id of the job.")]
    name: Annotated[str, Meta(description="Its name.")]
    state: Annotated[State, Meta(description="Its state.")]
    sentence: Annotated[str, Meta(description="What happened, or why the job waits.")]
    reason: Annotated[str | None, Meta(description="The reason code.")]
    category: Annotated[str | None, Meta(description="The reason in snake_case: the name of its manual page.")]
    cause: Annotated[Cause | None, Meta(description="Whose failure it is; null when the attempt did not fail.")]
    remedy: Annotated[list[str], Meta(description="What to do about the reason of a failed job, or of one that waits.")]
    now: Annotated[Time, Meta(description="The time of the server at this answer.")]
    attempts: Annotated[list[EvidenceView], Meta(description="The evidence, attempt by attempt, oldest first.")]
    anomalies: Annotated[list[AnomalyView], Meta(description="Evidence that came too late.")]
    missing: Annotated[list[str], Meta(description="Evidence that cannot be read now.")]


def operation(explainer: Explainer) -> Operation:
    async def explain_job(call: Call[JobPath, Nothing, Nothing]) -> Reply[ExplanationView]:
        """Return one sentence about a job, and the evidence for it."""
        return Reply(_view(await explainer.explain(call.path.id)))

    return Operation(
        "GET",
        "/v1/jobs/{id}/explanation",
        "explainJob",
        "Explain what happened to a job, or why it waits",
        explain_job,
        description="One sentence with the cause, the place and what to do. Then for each attempt: the verdict, the rule that"
        " matched, the budget that it was charged to, what followed, the last status of its pods, the exit codes of all"
        " containers, Kubernetes Events, and the last lines of its log. All of it is stored, so the answer does not need the"
        " cluster.",
        problems=DOWN,
    )


def _view(found: Explanation) -> ExplanationView:
    job = found.job
    category = categories.find(job.reason) if job.reason else None
    last = next((one.attempt.verdict for one in reversed(found.attempts) if one.attempt.number == job.attempt), None)
    return ExplanationView(
        job_id=job.id,
        name=job.name,
        state=job.state,
        sentence=found.sentence,
        reason=job.reason or None,
        category=codes.category_name(job.reason) if job.reason else None,
        cause=(last.cause or None) if last is not None else None,
        remedy=list(category.remedy) if category is not None and job.state in _WITH_REMEDY else [],
        now=found.now,
        attempts=[_evidence(one) for one in found.attempts],
        anomalies=[view_of(AnomalyView, one) for one in found.anomalies],
        missing=list(found.missing),
    )


def _evidence(judged: Judged) -> EvidenceView:
    attempt = judged.attempt
    return EvidenceView(
        number=attempt.number,
        verdict=None if attempt.verdict is None else _judgement(attempt.verdict, judged),
        node=attempt.node or None,
        memory=attempt.memory or None,
        started_at=attempt.started_at,
        finished_at=attempt.finished_at,
        cluster_job=_cluster_job(attempt),
        pods=[_pod(pod) for pod in attempt.facts.pods],
        events=[_event(event) for event in (*attempt.facts.job_events, *attempt.facts.pod_events)],
        nodes=[
            NodeView(name=node.name, seen_at=node.seen_at, conditions=_conditions(node.conditions))
            for node in attempt.facts.nodes
        ],
        last_lines=[LinesView(container=name, lines=list(lines)) for name, lines in judged.last_lines.items()],
    )


def _judgement(verdict: Verdict, judged: Judged) -> JudgementView:
    plan = judged.plan
    return view_of(
        JudgementView,
        verdict,
        category=codes.category_name(verdict.reason),
        charged_to=judged.budget or None,
        retried=plan is not None and plan.retry,
        followed=plan.why if plan is not None else "",
        decided_at=judged.attempt.decided_at,
    )


def _cluster_job(attempt: Attempt) -> ClusterJobView:
    facts = attempt.facts.job
    conditions = _conditions(facts.conditions if facts else ())
    return view_of(ClusterJobView, attempt, name=attempt.cluster_name, uid=attempt.cluster_uid, conditions=conditions)


def _pod(pod: PodFacts) -> PodView:
    containers = [_container(container) for container in pod.containers]
    return view_of(PodView, pod, conditions=_conditions(pod.conditions), containers=containers)


def _container(container: ContainerFacts) -> ContainerView:
    return view_of(
        ContainerView, container, kind="sidecar" if container.sidecar else "init" if container.init else "main"
    )


def _conditions(conditions: Sequence[Condition]) -> list[ConditionView]:
    return [view_of(ConditionView, condition) for condition in conditions]


def _event(event: EventFacts) -> EventView:
    return view_of(EventView, event, object=f"{event.object_kind}/{event.object_name}")
