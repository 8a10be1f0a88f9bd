"""`POST /v1/retry-policies:simulate`: what a retry policy would have decided about past jobs or invented failures."""

from collections.abc import Sequence
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from kube_job_runner.domain.decide.retries import Step
from kube_job_runner.domain.errors import NotFound
from kube_job_runner.domain.failures import categories, codes
from kube_job_runner.domain.job import Verdict
from kube_job_runner.domain.limits import SpecLimits
from kube_job_runner.domain.spec import check
from kube_job_runner.domain.spec.field_types import Quantity, ReasonName
from kube_job_runner.domain.spec.model import JobSpec, Resources, Retry
from kube_job_runner.domain.states import State
from kube_job_runner.services import simulator
from kube_job_runner.services.simulator import Simulated, Simulator
from kube_job_runner.web.api.explain_job import ChargedTo
from kube_job_runner.web.api.job_view import Cause
from kube_job_runner.web.api.problem_types import DOWN
from kube_job_runner.web.kit.handling import Call, Nothing, Reply
from kube_job_runner.web.kit.operations import Operation
from kube_job_runner.web.kit.queries import StrictQuery
from kube_job_runner.web.validation.body import BodyDecoder
from kube_job_runner.web.validation.fault import Fault, Invalid

JOBS_MAX = 100
FAILURES_MAX = 100
_LEAST_MEMORY = "1Mi"


class MadeUpFailure(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A made-up failure."""

    reason: Annotated[ReasonName, Meta(description="A reason code or a category: `OutOfMemory`, `out_of_memory`.")]
    exit_code: Annotated[
        Annotated[int, Meta(ge=0, le=255)] | None, Meta(description="The exit code of the container.")
    ] = None
    signal: Annotated[
        Annotated[int, Meta(ge=1, le=64)] | None,
        Meta(description="The number of the signal that killed the container."),
    ] = None
    cause: Annotated[
        Cause | None, Meta(description="Whose failure it is; without it the usual cause of the reason.")
    ] = None


class SimulateBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A retry policy, and what to try it on: either `jobs` or `failures`."""

    policy: Annotated[Retry, Meta(description="The retry policy to try, as `retry` of a job spec.")]
    jobs: Annotated[tuple[UUID, ...], Meta(max_length=JOBS_MAX, description="Jobs that ran, by id.")] = ()
    failures: Annotated[
        tuple[MadeUpFailure, ...],
        Meta(max_length=FAILURES_MAX, description="Made-up failures of one job, one after the other."),
    ] = ()
    memory: Annotated[
        Quantity | None,
        Meta(description="Memory of the first attempt of `failures`. Jobs have the memory of their spec."),
    ] = None


class DecisionView(msgspec.Struct, frozen=True, kw_only=True):
    """What the policy decides after one attempt."""

    attempt: Annotated[int, Meta(description="The number of the attempt.")]
    reason: Annotated[str, Meta(description="The reason code of its failure.")]
    category: Annotated[str, Meta(description="The reason in snake_case.")]
    exit_code: Annotated[int | None, Meta(description="The exit code of the container, if it has one.")]
    signal: Annotated[int | None, Meta(description="The number of the signal that killed the container, if one did.")]
    cause: Annotated[Cause | None, Meta(description="Whose failure it is.")]
    reached: Annotated[bool, Meta(description="Whether the policy would have made this attempt.")]
    retry: Annotated[bool, Meta(description="Whether another attempt follows.")]
    why: Annotated[str, Meta(description="Why, in words.")]
    charged_to: Annotated[ChargedTo | None, Meta(description="Which budget of retries pays for it.")]
    delay_seconds: Annotated[float | None, Meta(description="How long the next attempt waits; null when none follows.")]
    rule: Annotated[int | None, Meta(description="The index of the retry rule that decided.")]
    memory: Annotated[str | None, Meta(description="The memory of the next attempt, if a rule grows it.")]


class SimulationView(msgspec.Struct, frozen=True, kw_only=True):
    """What the policy does with one job, or with the failures."""

    job_id: Annotated[UUID | None, Meta(description="The id of the job; null for made-up failures.")]
    state: Annotated[State | None, Meta(description="The state of the job; null for made-up failures.")]
    outcome: Annotated[
        Literal["succeeded", "failed", "cancelled", "open"],
        Meta(
            description="How the job ends under the policy; `open` when it would run again after the last known attempt."
        ),
    ]
    attempts: Annotated[int, Meta(description="How many of the known attempts the policy would have made.")]
    waited_seconds: Annotated[float, Meta(description="The sum of the waits between attempts.")]
    decisions: Annotated[list[DecisionView], Meta(description="What the policy decides, attempt by attempt.")]


class SimulationList(msgspec.Struct, frozen=True, kw_only=True):
    """The simulations: one for each job, or one for the failures."""

    simulations: Annotated[
        list[SimulationView], Meta(description="One for each job in their order, or one for the failures.")
    ]
    warnings: Annotated[
        Sequence[Fault] | UnsetType, Meta(description="Unknown fields of the request, which were ignored.")
    ] = UNSET


def operation(jobs: Simulator) -> Operation:
    """Return the endpoint. Its decoder checks the policy by the rules of a spec's `retry`."""

    async def simulate(call: Call[Nothing, StrictQuery, SimulateBody]) -> Reply[SimulationList]:
        """Return what a policy would have decided."""
        body = call.body
        if body.failures:
            verdicts = [_verdict(failure) for failure in body.failures]
            found = [simulator.of_verdicts(verdicts, body.policy, memory=body.memory or "")]
        else:
            found = await _of_jobs(jobs, body)
        return Reply(SimulationList(simulations=[_view(one) for one in found], warnings=call.warnings or UNSET))

    return Operation(
        "POST",
        "/v1/retry-policies:simulate",
        "simulateRetryPolicy",
        "Try out a retry policy",
        simulate,
        description="Says what the policy would have decided after each attempt of `jobs`, or after each of `failures`: whether"
        " another attempt follows, when and why, which budget pays, which rule decided, and how much memory it gets. Nothing"
        " is stored or run.",
        decoder=BodyDecoder(
            SimulateBody, check=_check, example={"policy": {}, "failures": [{"reason": "OutOfMemory"}]}
        ),
        body_example={
            "policy": {
                "attempts": 3,
                "rules": [{"action": "grow_memory", "reasons": ["OutOfMemory"], "max_memory": "4Gi"}],
            },
            "memory": "1Gi",
            "failures": [{"reason": "OutOfMemory", "exit_code": 137}],
        },
        problems=DOWN,
    )


async def _of_jobs(jobs: Simulator, body: SimulateBody) -> list[Simulated]:
    found: list[Simulated] = []
    faults: list[Fault] = []
    for index, job_id in enumerate(body.jobs):
        try:
            found.append(await jobs.of_job(job_id, body.policy))
        except NotFound as error:
            faults.append(Fault(f"/jobs/{index}", str(error)))
    if faults:
        raise Invalid(faults)
    return found


def _check(body: SimulateBody) -> list[Fault]:
    spec = JobSpec(image="policy", retry=body.policy, resources=Resources(memory=body.memory or _LEAST_MEMORY))
    problems = check.check(spec, SpecLimits())
    faults = [
        Fault(problem.pointer.replace("/retry/", "/policy/", 1), problem.detail.replace("resources.", ""))
        for problem in problems
    ]
    if bool(body.jobs) == bool(body.failures):
        faults.append(Fault("/jobs", "is needed, or failures; not both"))
    if body.jobs and body.memory is not None:
        faults.append(Fault("/memory", "is for failures only; jobs have the memory of their spec"))
    for index, failure in enumerate(body.failures):
        if categories.find(failure.reason) is None:
            detail = f"{failure.reason!r} is not a reason; `kjr explain` lists them"
            faults.append(Fault(f"/failures/{index}/reason", detail))
    return faults


def _verdict(failure: MadeUpFailure) -> Verdict:
    return Verdict(
        outcome=State.FAILED,
        reason=categories.code_of(failure.reason),
        exit_code=failure.exit_code,
        signal=failure.signal,
        cause=failure.cause or simulator.cause_of(failure.reason) or "permanent",
    )


def _view(found: Simulated) -> SimulationView:
    reached = [step for step in found.steps if step.reached]
    return SimulationView(
        job_id=found.job_id,
        state=found.state,
        outcome=_outcome(reached),
        attempts=len(reached),
        waited_seconds=round(sum(step.plan.delay_seconds for step in reached if step.plan.retry), 3),
        decisions=[_decision(step) for step in found.steps],
    )


def _outcome(reached: Sequence[Step]) -> Literal["succeeded", "failed", "cancelled", "open"]:
    if not reached or reached[-1].plan.retry:
        return "open"
    outcome = reached[-1].verdict.outcome
    return "succeeded" if outcome is State.SUCCEEDED else "cancelled" if outcome is State.CANCELLED else "failed"


def _decision(step: Step) -> DecisionView:
    verdict, plan = step.verdict, step.plan
    return DecisionView(
        attempt=step.attempt,
        reason=verdict.reason,
        category=codes.category_name(verdict.reason),
        exit_code=verdict.exit_code,
        signal=verdict.signal,
        cause=verdict.cause or None,
        reached=step.reached,
        retry=plan.retry,
        why=plan.why,
        charged_to=plan.budget or None,
        delay_seconds=round(plan.delay_seconds, 3) if plan.retry else None,
        rule=plan.rule,
        memory=plan.memory or None,
    )
