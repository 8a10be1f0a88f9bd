"""The endpoints of the API: one row each, in the order of its document."""

import dataclasses
from uuid import UUID

from kube_job_runner.domain.limits import AdmissionLimits
from kube_job_runner.domain.spec.model import JobSpec
from kube_job_runner.ports import Clock, JobReader, SubmitStore
from kube_job_runner.services.change_hub import ChangeHub
from kube_job_runner.services.explainer import Explainer
from kube_job_runner.services.intake import Intake
from kube_job_runner.services.log_reading import LogService
from kube_job_runner.services.readiness import Readiness
from kube_job_runner.services.simulator import Simulator
from kube_job_runner.web.api import (
    api_document,
    cancel_job,
    explain_job,
    get_job,
    get_log,
    job_records,
    list_jobs,
    process_health,
    rerun_job,
    retry_policies,
    submit_batch,
    submit_job,
)
from kube_job_runner.web.api.api_document import ApiDocument
from kube_job_runner.web.kit.operations import Operation
from kube_job_runner.web.validation.body import BodyDecoder


@dataclasses.dataclass(frozen=True, kw_only=True)
class Parts:
    """What the endpoints need: use cases, ports and limits."""

    intake: Intake
    specs: BodyDecoder[JobSpec]
    store: SubmitStore
    reader: JobReader
    hub: ChangeHub[UUID]
    logs: LogService
    explainer: Explainer
    simulator: Simulator
    readiness: Readiness
    clock: Clock
    admission: AdmissionLimits
    wait_max_seconds: float


def operations(parts: Parts, document: ApiDocument) -> list[Operation]:
    return [
        submit_job.operation(parts.intake, parts.specs),
        submit_batch.operation(parts.intake, parts.specs),
        list_jobs.operation(parts.reader),
        get_job.operation(parts.reader, parts.hub, wait_max_seconds=parts.wait_max_seconds, admission=parts.admission),
        cancel_job.operation(parts.store),
        job_records.attempts(parts.reader),
        job_records.transitions(parts.reader),
        job_records.spec(parts.reader),
        get_log.operation(parts.logs, parts.clock),
        job_records.timeline(parts.explainer),
        explain_job.operation(parts.explainer),
        rerun_job.operation(parts.reader, parts.intake, parts.specs),
        retry_policies.operation(parts.simulator),
        process_health.version(),
        *process_health.operations(parts.readiness),
        *api_document.operations(document),
    ]
