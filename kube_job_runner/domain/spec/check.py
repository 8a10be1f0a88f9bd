"""Check: the rules of a job spec that span fields or need the installation's settings. All faults are reported at once."""

from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from kube_job_runner.domain import names
from kube_job_runner.domain.failures import categories
from kube_job_runner.domain.limits import SpecLimits
from kube_job_runner.domain.spec import image, quantity
from kube_job_runner.domain.spec.changes import pointer
from kube_job_runner.domain.spec.field_types import STRING_MAX_BYTES, Toleration, Volume
from kube_job_runner.domain.spec.model import ANNOTATIONS_MAX_BYTES, JobSpec, Resources, RetryRule

_encoder = msgspec.json.Encoder()


class SpecFault(NamedTuple):
    """One fault of a spec: where (a JSON pointer, RFC 6901), and what is wrong, with the limit or the remedy."""

    pointer: str
    detail: str


def check(spec: JobSpec, limits: SpecLimits) -> list[SpecFault]:
    """Return every fault of a well-typed spec, in reading order; an empty list means that it may be stored."""
    faults: list[SpecFault] = []
    wrong_image = image.fault(spec.image)
    if wrong_image:
        faults.append(SpecFault("/image", f"{spec.image!r} {wrong_image}"))
    if spec.namespace is not None and spec.namespace not in limits.namespaces:
        allowed = ", ".join(sorted(limits.namespaces))
        faults.append(SpecFault("/namespace", f"{spec.namespace!r} is not allowed here; allowed: {allowed}"))
    resources = spec.resources
    if resources.cpu is not None or resources.memory is not None or resources.ephemeral_storage is not None:
        faults.extend(_resources(resources))
    if spec.command or spec.args or spec.env:
        faults.extend(_strings(spec))
    if spec.labels or spec.annotations:
        faults.extend(_metadata(spec))
    if spec.secrets:
        faults.extend(_secrets(spec))
    if spec.volumes:
        faults.extend(_volumes(spec.volumes))
    if spec.retry.rules:
        faults.extend(_retry_rules(spec))
    if spec.tolerations:
        faults.extend(_tolerations(spec.tolerations))
    size_bytes = len(_encoder.encode(spec))
    if size_bytes > limits.spec_max_bytes:
        limit = f"the spec is {size_bytes} bytes; the limit is {limits.spec_max_bytes}: put large input in a volume"
        faults.append(SpecFault("", limit))
    return faults


def _resources(resources: Resources) -> Iterator[SpecFault]:
    if resources.cpu is not None and (wrong := quantity.cpu_fault(resources.cpu)):
        yield SpecFault("/resources/cpu", wrong)
    for field, size in (("memory", resources.memory), ("ephemeral_storage", resources.ephemeral_storage)):
        if size is not None and (wrong := quantity.size_fault(size)):
            yield SpecFault(pointer("resources", field), wrong)


def _strings(spec: JobSpec) -> Iterator[SpecFault]:
    for field, values in (("command", spec.command), ("args", spec.args)):
        for index, value in enumerate(values):
            if "\0" in value:
                yield SpecFault(pointer(field, index), "must not hold a NUL character")
            elif len(value) * 4 > STRING_MAX_BYTES and len(value.encode()) > STRING_MAX_BYTES:
                yield SpecFault(pointer(field, index), f"is longer than {STRING_MAX_BYTES} bytes, the limit of Linux")
    for key, value in spec.env.items():
        if "\0" in value:
            yield SpecFault(pointer("env", key), "must not hold a NUL character")
        elif len(value) * 4 > STRING_MAX_BYTES and len(key.encode()) + 1 + len(value.encode()) > STRING_MAX_BYTES:
            yield SpecFault(
                pointer("env", key), f"name and value are longer than {STRING_MAX_BYTES} bytes, the limit of Linux"
            )


def reserved_label(key: str) -> bool:
    """Return whether the key of a label or annotation belongs to Kubernetes or to us, so that a user may not set it."""
    prefix, _, _ = key.rpartition("/")
    if not prefix or key in names.ALLOWED_RESERVED_LABELS:
        return False
    return any(prefix == domain or prefix.endswith("." + domain) for domain in names.RESERVED_LABEL_DOMAINS)


def _metadata(spec: JobSpec) -> Iterator[SpecFault]:
    for key in spec.labels:
        if key in names.JOB_CONTROLLER_LABELS:
            yield SpecFault(
                pointer("labels", key), f"Kubernetes sets the label {key!r} of every Job itself; use another name"
            )
    for field, mapping in (("labels", spec.labels), ("annotations", spec.annotations)):
        for key in mapping:
            if reserved_label(key):
                yield SpecFault(pointer(field, key), f"the domain of {key!r} is reserved; use a prefix of your own")
            if len(key.rpartition("/")[0]) > 253:
                yield SpecFault(pointer(field, key), "the prefix is longer than 253 characters")
    for key, value in spec.annotations.items():
        if "\0" in value:
            yield SpecFault(pointer("annotations", key), "must not hold a NUL character")
    size_bytes = sum(len(k.encode()) + len(v.encode()) for k, v in spec.annotations.items())
    if size_bytes > ANNOTATIONS_MAX_BYTES:
        yield SpecFault("/annotations", f"are {size_bytes} bytes together; the limit is {ANNOTATIONS_MAX_BYTES}")


def _secrets(spec: JobSpec) -> Iterator[SpecFault]:
    seen: set[str] = set()
    for index, secret in enumerate(spec.secrets):
        if secret.env in spec.env:
            yield SpecFault(pointer("secrets", index, "env"), f"{secret.env!r} is set in env too")
        if secret.env in seen:
            yield SpecFault(pointer("secrets", index, "env"), f"{secret.env!r} is used twice")
        seen.add(secret.env)


def _retry_rules(spec: JobSpec) -> Iterator[SpecFault]:
    for index, rule in enumerate(spec.retry.rules):
        at = ("retry", "rules", index)
        if not (rule.reasons or rule.exit_codes or rule.signals):
            yield SpecFault(pointer(*at), "matches every failure; give reasons, exit_codes or signals")
        for position, reason in enumerate(rule.reasons):
            if categories.find(reason) is None:
                yield SpecFault(
                    pointer(*at, "reasons", position), f"{reason!r} is not a reason; `kjr explain` lists them"
                )
        if rule.action == "grow_memory":
            yield from _grown(spec, rule, at)
        elif rule.max_memory is not None:
            yield SpecFault(pointer(*at, "max_memory"), "is used only with the action grow_memory")


def _grown(spec: JobSpec, rule: RetryRule, at: tuple[str | int, ...]) -> Iterator[SpecFault]:
    if spec.resources.memory is None:
        yield SpecFault("/resources/memory", f"must be set, because {pointer(*at)} grows it")
    elif rule.max_memory is None:
        yield SpecFault(pointer(*at, "max_memory"), "must be set: the most memory that an attempt gets")
    elif wrong := quantity.size_fault(rule.max_memory):
        yield SpecFault(pointer(*at, "max_memory"), wrong)
    elif quantity.parse(rule.max_memory) <= quantity.parse(spec.resources.memory):
        yield SpecFault(pointer(*at, "max_memory"), f"must be above resources.memory, which is {spec.resources.memory}")


def _volumes(volumes: tuple[Volume, ...]) -> Iterator[SpecFault]:
    seen_names: set[str] = set()
    seen_paths: set[str] = set()
    for index, volume in enumerate(volumes):
        sources = (volume.empty_dir, volume.persistent_volume_claim, volume.config_map, volume.secret)
        given = sum(source is not None for source in sources)
        if given != 1:
            yield SpecFault(
                pointer("volumes", index),
                f"has {given} sources; give exactly one of empty_dir, persistent_volume_claim, config_map, secret",
            )
        if volume.empty_dir is not None and volume.empty_dir.size_limit is not None:
            wrong = quantity.size_fault(volume.empty_dir.size_limit)
            if wrong:
                yield SpecFault(pointer("volumes", index, "empty_dir", "size_limit"), wrong)
        if volume.name in seen_names:
            yield SpecFault(pointer("volumes", index, "name"), f"{volume.name!r} is used twice")
        if volume.mount_path in seen_paths:
            yield SpecFault(pointer("volumes", index, "mount_path"), f"{volume.mount_path!r} is used twice")
        if "\0" in volume.mount_path or "\0" in volume.sub_path:
            yield SpecFault(pointer("volumes", index), "must not hold a NUL character")
        if volume.sub_path.startswith("/") or ".." in volume.sub_path.split("/"):
            yield SpecFault(pointer("volumes", index, "sub_path"), "must be relative and must not hold '..'")
        seen_names.add(volume.name)
        seen_paths.add(volume.mount_path)


def _tolerations(tolerations: tuple[Toleration, ...]) -> Iterator[SpecFault]:
    for index, toleration in enumerate(tolerations):
        if not toleration.key and toleration.operator != "Exists":
            yield SpecFault(pointer("tolerations", index, "operator"), "must be Exists when the key is empty")
        if toleration.operator == "Exists" and toleration.value:
            yield SpecFault(pointer("tolerations", index, "value"), "must be empty when the operator is Exists")
        if toleration.toleration_seconds is not None and toleration.effect != "NoExecute":
            yield SpecFault(pointer("tolerations", index, "toleration_seconds"), "needs the effect NoExecute")
