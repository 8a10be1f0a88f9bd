"""Messages: what travels on the queue. Ids and facts, never a spec, never a secret; frozen, tagged and versioned.

A name in the imperative asks for work; a name in the past tense tells what happened. Every message may be delivered
more than once and in any order, so each means only "look at this job again, and know this much more".
"""

from __future__ import annotations

from uuid import UUID

import msgspec

from kube_job_runner.domain.facts import EventFacts, JobFacts, NodeFacts, PodFacts

VERSION = 1
CONTROL_PRIORITY = 1000  # messages about jobs that exist in the cluster go before new work


class _Base(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", omit_defaults=True):
    job_id: UUID
    v: int = VERSION


class Submitted(_Base, frozen=True, kw_only=True, tag="submitted"):
    """Jobs were stored, or there is room again: some may be admitted. `job_id` names one of them, for tracing only."""


class CancelRequested(_Base, frozen=True, kw_only=True, tag="cancel_requested"):
    """A user asked for the end of a job; who and why is in the job's own columns."""


class Check(_Base, frozen=True, kw_only=True, tag="check"):
    """Look at a job again: something is due (deadline, grace period, retry, cleanup)."""


class Observed(_Base, frozen=True, kw_only=True, tag="observed"):
    """A watcher saw a Job, a Pod, an Event or a Node. Exactly one of `job`, `pod`, `event` and `node` is set."""

    attempt: int
    job: JobFacts | None = None
    pod: PodFacts | None = None
    event: EventFacts | None = None
    node: NodeFacts | None = None


class Delete(_Base, frozen=True, kw_only=True, tag="delete"):
    """Remove the cluster job of an attempt, by uid. Sent only by the commit that recorded why."""

    attempt: int
    namespace: str
    cluster_name: str
    cluster_uid: str
    wait_for_pods: bool = False
    pods: tuple[tuple[str, str], ...] = ()
    """Name and uid of pods to delete by themselves, when `grace_seconds` is set: 0 forces them out of the cluster."""
    grace_seconds: int | None = None


Message = Submitted | CancelRequested | Check | Observed | Delete

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Message)


class Outgoing(msgspec.Struct, frozen=True, kw_only=True):
    """A message to send, when it may be received at the earliest, and how urgent it is (higher first)."""

    message: Message
    delay_seconds: float = 0.0
    priority: int = CONTROL_PRIORITY


def encode(message: Message) -> bytes:
    """Return the JSON body of a message."""
    return _encoder.encode(message)


def decode(body: bytes) -> Message:
    """Return the message of a body.

    Raises:
        ValueError: the body is not a message of a version that we know (`msgspec.ValidationError` and
            `msgspec.DecodeError` are ValueErrors); such a message is dead-lettered.
    """
    message: Message = _decoder.decode(body)
    if message.v != VERSION:
        raise ValueError(f"unknown message version {message.v}; this processor knows {VERSION}")
    return message
