"""Job specs: how they are decoded, and the example of the API document."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from kube_job_runner.domain.limits import SpecLimits
from kube_job_runner.domain.spec import check
from kube_job_runner.domain.spec.model import JobSpec
from kube_job_runner.web.validation.body import BodyDecoder
from kube_job_runner.web.validation.fault import Fault

EXAMPLE: dict[str, Any] = {
    "image": "docker.io/library/busybox:1.36",
    "name": "hello",
    "command": ["sh", "-c"],
    "args": ["echo hello; exit 0"],
    "env": {"GREETING": "hello"},
    "resources": {"cpu": "250m", "memory": "64Mi"},
    "timeouts": {"run_seconds": 600},
    "retry": {"attempts": 3, "backoff_seconds": 10},
    "labels": {"team": "data"},
}


class StrictQuery(msgspec.Struct, frozen=True):
    """How unknown fields of the body are handled."""

    strict: Annotated[bool, Meta(description="Refuse unknown fields. Without it they are ignored with a warning.")] = (
        False
    )


def decoder(limits: SpecLimits) -> BodyDecoder[JobSpec]:
    """Return the decoder of job specs under the limits of this installation."""

    def faults(spec: JobSpec) -> list[Fault]:
        return [Fault(problem.pointer, problem.detail) for problem in check.check(spec, limits)]

    return BodyDecoder(JobSpec, check=faults, example={"image": EXAMPLE["image"]})
