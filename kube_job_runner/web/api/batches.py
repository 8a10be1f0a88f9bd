"""Reading a batch: each of its jobs is judged alone, so that one bad spec does not refuse the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from kube_job_runner.domain.spec.changes import pointer
from kube_job_runner.domain.spec.model import JobSpec
from kube_job_runner.web.api.queries import BATCH_MAX, BatchBody
from kube_job_runner.web.validation import strict_json
from kube_job_runner.web.validation.body import BodyDecoder, Decoded
from kube_job_runner.web.validation.fault import Fault, Invalid
from kube_job_runner.web.validation.type_walk import kind

_decode = msgspec.json.Decoder(BatchBody).decode


class Batch(msgspec.Struct, frozen=True):
    """The jobs of a batch in their order, and warnings about fields of the batch itself."""

    items: list[Decoded[JobSpec]]
    warnings: Sequence[Fault] = ()


def read(raw: bytes, decoder: BodyDecoder[JobSpec], *, strict: bool) -> Batch:
    """Return the jobs of a batch, each with its value or its faults; pointers are those of the whole body.

    Raises:
        Malformed: the body is not JSON.
        Invalid: `jobs` is not a list of 1 to 1,000.
    """
    try:
        body = _decode(raw)
        if strict_json.plain(raw):
            return Batch([_judge(spec, index, decoder) for index, spec in enumerate(body.jobs)])
    except (ValueError, RecursionError):  # msgspec's errors and UnicodeDecodeError are ValueErrors
        pass
    return _read_slowly(raw, decoder, strict=strict)


def _judge(spec: JobSpec, index: int, decoder: BodyDecoder[JobSpec]) -> Decoded[JobSpec]:
    faults = decoder.check(spec)
    if not faults:
        return Decoded(spec)
    return Decoded(faults=[msgspec.structs.replace(f, pointer=f"/jobs/{index}{f.pointer}") for f in faults])


def _read_slowly(raw: bytes, decoder: BodyDecoder[JobSpec], *, strict: bool) -> Batch:
    tree = strict_json.parse(raw)
    faults, jobs = _frame(tree)
    unknown = [pointer(name) for name in tree if name != "jobs"] if isinstance(tree, dict) else []
    if strict:
        faults += [Fault(at, "is not a known field (strict=true)") for at in unknown]
    if faults:
        raise Invalid(faults)
    warnings = [Fault(at, "is not a known field; it was ignored") for at in unknown[:100]]
    return Batch([decoder.item(job, strict=strict, at=f"/jobs/{index}") for index, job in enumerate(jobs)], warnings)


def _frame(tree: Any) -> tuple[list[Fault], list[Any]]:
    if not isinstance(tree, dict):
        return [Fault("", f'must be an object {{"jobs": [...]}}, not {kind(tree)}')], []
    if "jobs" not in tree:
        return [Fault("/jobs", "is required")], []
    jobs = tree["jobs"]
    if not isinstance(jobs, list):
        return [Fault("/jobs", f"must be an array of job specs, not {kind(jobs)}")], []
    if not 1 <= len(jobs) <= BATCH_MAX:
        return [Fault("/jobs", f"has {len(jobs)} entries; 1 to {BATCH_MAX} are allowed")], []
    return [], jobs
