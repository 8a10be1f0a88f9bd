"""Messages: what travels on the queue. They hold ids and facts, never a spec or a secret, and carry a version.

A name in the imperative asks for work. A name in the past tense reports what happened. A message may be delivered more than
once and in any order. So each one means only: look at this job again, and know this much more.
"""

from typing import Any
from uuid import UUID

import msgspec

from kube_job_runner.domain.facts import EventFacts, JobFacts, NodeFacts, PodFacts, Seen

VERSION = 1
CONTROL_PRIORITY = 1000  # messages about jobs that exist in the cluster go before new work


class _Base(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", omit_defaults=True):
    job_id: UUID
    v: int = VERSION


class Submitted(_Base, frozen=True, kw_only=True, tag="submitted"):
    """Jobs were stored, or there is room again: some may be admitted. `job_id` names one of them, for tracing only."""


class CancelRequested(_Base, frozen=True, kw_only=True, tag="cancel_requested"):
    """A user asked for the end of a job. Who asked, and why, is in the job's own columns."""


class Check(_Base, frozen=True, kw_only=True, tag="check"):
    """Look at a job again: something is due (a deadline, a grace period, a retry, a cleanup)."""


class Observed(_Base, frozen=True, kw_only=True, tag="observed"):
    """A watcher saw a Job, a Pod, an Event or a Node of an attempt.

    `listed`: for the first time since a list began. `early_seconds` is how long the message has waited for the row of the
    attempt.
    """

    attempt: int
    seen: Seen
    early_seconds: float = 0.0
    listed: bool = False


class Delete(_Base, frozen=True, kw_only=True, tag="delete"):
    """Remove the cluster job of an attempt, by uid. Sent only by the commit that recorded why."""

    attempt: int
    namespace: str
    cluster_name: str
    cluster_uid: str
    wait_for_pods: bool = False
    pods: tuple[tuple[str, str], ...] = ()
    """Name and uid of pods to delete by themselves, when `grace_seconds` is set. A grace of 0 forces them out of the cluster."""
    grace_seconds: int | None = None


Message = Submitted | CancelRequested | Check | Observed | Delete


class Outgoing(msgspec.Struct, frozen=True, kw_only=True):
    """A message to send, when it may be received at the earliest, and how urgent it is (higher first)."""

    message: Message
    delay_seconds: float = 0.0
    priority: int = CONTROL_PRIORITY


class _ObservedOnWire(_Base, frozen=True, kw_only=True, tag="observed"):
    """`Observed` in a body: the name of the one field that is set says what was seen."""

    attempt: int
    early_seconds: float = 0.0
    job: JobFacts | None = None
    pod: PodFacts | None = None
    event: EventFacts | None = None
    node: NodeFacts | None = None
    listed: bool = False


_FIELDS: dict[type[Seen], str] = {JobFacts: "job", PodFacts: "pod", EventFacts: "event", NodeFacts: "node"}

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Submitted | CancelRequested | Check | _ObservedOnWire | Delete)


def type_name(message: Message) -> str:
    """Return the type of a message, as its body names it."""
    return str(message.__struct_config__.tag)


def encode(message: Message) -> bytes:
    if not isinstance(message, Observed):
        return _encoder.encode(message)
    seen: dict[str, Any] = {_FIELDS[type(message.seen)]: message.seen}
    common: dict[str, Any] = {
        "job_id": message.job_id,
        "v": message.v,
        "attempt": message.attempt,
        "listed": message.listed,
    }
    return _encoder.encode(_ObservedOnWire(**common, early_seconds=message.early_seconds, **seen))


def decode(body: bytes) -> Message:
    """Return the message of a body.

    Raises:
        ValueError: the body is not a message of a version that we know (`msgspec.ValidationError` and
            `msgspec.DecodeError` are ValueErrors). Such a message is dead-lettered.
    """
    message = _decoder.decode(body)
    if message.v != VERSION:
        raise ValueError(f"unknown message version {message.v}; this processor knows {VERSION}")
    return _observed(message) if isinstance(message, _ObservedOnWire) else message


def _observed(message: _ObservedOnWire) -> Observed:
    found = [seen for seen in (message.job, message.pod, message.event, message.node) if seen is not None]
    if len(found) != 1:
        raise ValueError(f"an observation holds the facts of one object, this one of {len(found)}")
    return Observed(
        job_id=message.job_id,
        v=message.v,
        attempt=message.attempt,
        seen=found[0],
        listed=message.listed,
        early_seconds=message.early_seconds,
    )
