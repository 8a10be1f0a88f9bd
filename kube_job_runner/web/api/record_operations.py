"""The declarations of what answers for a job's past and tries its future: record, rerun, simulation."""

from __future__ import annotations

from typing import Any

from kube_job_runner.web.api import idempotency, policies, problems, traceheader
from kube_job_runner.web.api.policies import PoliciesApi
from kube_job_runner.web.api.records import RecordsApi
from kube_job_runner.web.api.reruns import RerunApi
from kube_job_runner.web.kit.operations import Header, Operation

_DOWN = (problems.DATABASE_UNAVAILABLE, problems.UNAVAILABLE)
_LOCATION = Header(name="Location", description="The path of the new job.")
_SUBMITTED: dict[str, Any] = {
    "id": "0199d1f2-9a10-7c55-9d02-6a1b2c3d4e5f",
    "name": "hello",
    "state": "queued",
    "version": 1,
    "created_at": "2026-01-15T09:42:00Z",
    "queue": "default",
    "namespace": "default",
    "rerun_of": "0199d1f2-7c00-7a3b-8c4d-5e6f708192a3",
    "warnings": [],
}
_POLICY = {"attempts": 3, "rules": [{"action": "grow_memory", "reasons": ["OutOfMemory"], "max_memory": "4Gi"}]}


def record_operations(api: RecordsApi) -> list[Operation]:
    """Return the operations on the record of a job."""
    return [
        Operation(
            method="GET",
            path="/v1/jobs/{id}/timeline",
            operation_id="getJobTimeline",
            summary="Get the phases of a job",
            description="queued, created, scheduled, pulling, starting, running, finishing, for every attempt: each with its"
            " times, its deadline and, while it lasts, its reason. A phase that was never seen is left out.",
            handler=api.timeline,
            problems=_DOWN,
        ),
        Operation(
            method="GET",
            path="/v1/jobs/{id}/explanation",
            operation_id="explainJob",
            summary="Explain what happened to a job, or why it waits",
            description="One sentence with the cause, the place and what to do; then, for every attempt, the verdict, the rule"
            " that matched, which budget it was charged to and what followed, the last status of its pods, the exit codes"
            " of all containers, Kubernetes Events, and the last lines. It is answered from what was kept, also long after"
            " the cluster forgot the job.",
            handler=api.explanation,
            problems=_DOWN,
        ),
    ]


def rerun_operations(api: RerunApi) -> list[Operation]:
    """Return the operation that runs a job again."""
    return [
        Operation(
            method="POST",
            path="/v1/jobs/{id}:rerun",
            operation_id="rerunJob",
            summary="Run a job again, as it was or changed",
            description="A new job of the stored spec, with the changes of `set`, linked by `rerun_of`. It is checked like any"
            " submit, so that a spec which is not allowed any more is refused. A job that has not ended is a 409 unless"
            " `force` is given.",
            handler=api.rerun,
            status=201,
            body_optional=True,
            body_example={"set": {"resources.memory": "2Gi"}},
            answer_example=_SUBMITTED,
            request_headers=(idempotency.KEY_HEADER, traceheader.HEADER),
            response_headers=(_LOCATION, idempotency.REPLAYED_HEADER),
            problems=(problems.JOB_NOT_ENDED, problems.IDEMPOTENCY_KEY_REUSE, problems.OVERLOADED, *_DOWN),
        ),
    ]


def policy_operations(api: PoliciesApi) -> list[Operation]:
    """Return the operation that tries out a retry policy."""
    return [
        Operation(
            method="POST",
            path="/v1/retry-policies:simulate",
            operation_id="simulateRetryPolicy",
            summary="Try out a retry policy",
            description="What the policy would have decided after each attempt of `jobs`, or after each of `failures`: whether"
            " there is another attempt, when, why, charged to which budget, by which rule, with how much memory. Nothing"
            " is stored or run.",
            handler=api.simulate,
            decoder=policies.decoder(),
            body_example={
                "policy": _POLICY,
                "memory": "1Gi",
                "failures": [{"reason": "OutOfMemory", "exit_code": 137}],
            },
            problems=_DOWN,
        ),
    ]
