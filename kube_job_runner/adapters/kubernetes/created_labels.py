"""Checks the labels of a Job that was just created. An admission webhook may have changed what we sent.

Everything that we list or watch is selected by labels. A Job or a pod that lost them would run unseen.
"""

from collections.abc import Mapping

import msgspec

from kube_job_runner.adapters.kubernetes import api_objects
from kube_job_runner.domain import names

_IDENTIFYING = (names.MANAGED_BY_LABEL, names.INSTANCE_LABEL, names.JOB_ID_LABEL, names.ATTEMPT_LABEL)
_OURS = (*_IDENTIFYING, names.INSTALLATION_LABEL)


class _Template(msgspec.Struct):
    metadata: api_objects.Metadata = msgspec.field(default_factory=api_objects.Metadata)


class _Spec(msgspec.Struct):
    template: _Template | None = None


class _Created(msgspec.Struct):
    metadata: api_objects.Metadata = msgspec.field(default_factory=api_objects.Metadata)
    spec: _Spec | None = None


_decoder = msgspec.json.Decoder(_Created)


def changed(body: bytes, wanted: Mapping[str, str]) -> list[str]:
    """Return which of our labels differ from `wanted` in the answer to a create, on the Job or on the template of its pod.

    A part that the answer does not show is not compared.

    Raises:
        msgspec.MsgspecError: the answer is not a Job.
    """
    created = _decoder.decode(body)
    template = (
        created.spec.template.metadata if created.spec is not None and created.spec.template is not None else None
    )
    found = [created.metadata.labels or {}] + ([template.labels or {}] if template is not None else [])
    return sorted({name for labels in found for name in _OURS if name in wanted and labels.get(name) != wanted[name]})


def lost(found: Mapping[str, str], wanted: Mapping[str, str]) -> list[str]:
    """Return which labels that identify an attempt are missing from a Job. A Job that has other values of them is not ours."""
    if any(found.get(name, wanted[name]) != wanted[name] for name in _IDENTIFYING):
        return []
    return [name for name in _IDENTIFYING if name not in found]
