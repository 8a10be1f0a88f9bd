"""How job specs are read: their rules, their words for people, and the examples of the document."""

from __future__ import annotations

from typing import Any

import msgspec

from kube_job_runner.domain.spec import check, model
from kube_job_runner.domain.spec.check import SpecLimits
from kube_job_runner.domain.spec.model import JobSpec
from kube_job_runner.web.kit.problems import Fault
from kube_job_runner.web.validation.body import BodyDecoder

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


def _pattern(type_: Any) -> str:
    pattern = msgspec.inspect.type_info(type_).pattern  # type: ignore[attr-defined]
    assert isinstance(pattern, str)
    return pattern


HINTS = {
    _pattern(model.DnsLabel): "must be lower-case letters, digits and '-', beginning and ending with a letter or"
    " digit (RFC 1123 label)",
    _pattern(model.DnsSubdomain): "must be lower-case letters, digits, '-' and '.', as in a host name (RFC 1123)",
    _pattern(model.LabelKey): "must be letters, digits, '-', '_' and '.', at most 63, beginning and ending with a"
    " letter or digit, after an optional prefix such as example.com/",
    _pattern(model.LabelValue): "must be empty, or letters, digits, '-', '_' and '.', beginning and ending with a"
    " letter or digit",
    _pattern(model.Quantity): "must be a Kubernetes quantity, such as 500m, 2, 64Mi or 1.5Gi",
    _pattern(model.EnvName): "must be letters, digits, '_', '-' and '.', not beginning with a digit",
    _pattern(model.ConfigKey): "must be letters, digits, '-', '_' and '.'",
    _pattern(model.AbsolutePath): "must be an absolute path without ':' and line feeds",
}


def decoder(limits: SpecLimits) -> BodyDecoder[JobSpec]:
    """Return the decoder of job specs under the limits of this installation."""

    def faults(spec: JobSpec) -> list[Fault]:
        return [Fault(problem.pointer, problem.detail) for problem in check.check(spec, limits)]

    return BodyDecoder(JobSpec, check=faults, example={"image": EXAMPLE["image"]}, hints=HINTS)
