"""`GET /v1/jobs/{id}/spec`: the spec of a job."""

from __future__ import annotations

from kube_job_runner.domain.errors import NotFound
from kube_job_runner.domain.spec.model import JobSpec
from kube_job_runner.ports import JobReader
from kube_job_runner.web.api import job_specs
from kube_job_runner.web.api.job_view import JobPath
from kube_job_runner.web.api.problem_types import DOWN
from kube_job_runner.web.kit.handling import Call, Nothing, Reply
from kube_job_runner.web.kit.operations import Operation


def operation(reader: JobReader) -> Operation:
    """Return the endpoint."""

    async def get_spec(call: Call[JobPath, Nothing, Nothing]) -> Reply[JobSpec]:
        """Return the spec as it was stored."""
        encoded = await reader.get_spec(call.path.id)
        if encoded is None:
            raise NotFound(f"there is no job {call.path.id}")
        return Reply(content=encoded)

    return Operation(
        method="GET",
        path="/v1/jobs/{id}/spec",
        operation_id="getJobSpec",
        summary="Get the spec of a job",
        handler=get_spec,
        answer_example=job_specs.EXAMPLE,
        problems=DOWN,
    )
