"""Types of the answers of the API. They tolerate new fields and new words of a newer server.

Only the identity of an object is required. States are plain strings. `raw` keeps the original answer, so that a client can
pass on fields that it does not know.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypeVar

import msgspec

TERMINAL_STATES = frozenset({"succeeded", "failed", "cancelled"})
LIVE_STATES = frozenset({"queued", "starting", "running", "stopping"})


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """An answer of the API. `raw` is its JSON object."""

    raw: dict[str, Any] = {}


RecordT = TypeVar("RecordT", bound=Record)


class Job(Record, frozen=True, kw_only=True):
    """A job as the server reports it. Times have a time zone; `exit_code` is None if there is none."""

    id: str
    state: str
    version: int = 0
    name: str = ""
    queue: str = ""
    namespace: str = ""
    priority: int | None = None
    attempt: int = 0
    labels: dict[str, str] = {}
    created_at: datetime | None = None
    due_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    queue_position: int | None = None
    reason: str | None = None
    explanation: str | None = None
    exit_code: int | None = None
    cancel: dict[str, Any] | None = None
    rerun_of: str | None = None
    warnings: list[Any] | None = None

    @property
    def terminal(self) -> bool:
        """Whether the job has ended. A job in an unknown state has ended if it has an end time."""
        if self.state in TERMINAL_STATES:
            return True
        return self.state not in LIVE_STATES and self.finished_at is not None

    @property
    def succeeded(self) -> bool:
        return self.state == "succeeded"


class Attempt(Record, frozen=True, kw_only=True):
    """One run of a job."""

    number: int
    cluster_name: str | None = None
    cluster_uid: str | None = None
    namespace: str | None = None
    pod_name: str | None = None
    node: str | None = None
    created_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    reason: str | None = None
    explanation: str | None = None
    exit_code: int | None = None
    verdict: dict[str, Any] | None = None


class Transition(Record, frozen=True, kw_only=True):
    """One change of a job's state; `from_state` is None for the submit."""

    to_state: str
    at: datetime
    from_state: str | None = None
    version: int = 0
    attempt: int = 0
    reason: str | None = None
    explanation: str | None = None
    exit_code: int | None = None


class Phase(Record, frozen=True, kw_only=True):
    """One phase of an attempt: queued, created, scheduled, pulling, starting, running or finishing.

    While the phase lasts, `ended_at` is None and `reason` says what it waits for.
    """

    name: str
    started_at: datetime
    attempt: int = 0
    ended_at: datetime | None = None
    deadline: datetime | None = None
    reason: str | None = None


class Timeline(Record, frozen=True, kw_only=True):
    """The phases of all attempts of a job, oldest first. `now` is the time of the answer by the server's clock."""

    now: datetime
    state: str = ""
    version: int = 0
    phases: list[Phase] = []


class Explanation(Record, frozen=True, kw_only=True):
    """What happened to a job: one sentence, and the evidence of each attempt in the shape of the API."""

    job_id: str
    sentence: str
    name: str = ""
    state: str = ""
    reason: str | None = None
    category: str | None = None
    cause: str | None = None
    attempts: list[dict[str, Any]] = []
    anomalies: list[dict[str, Any]] = []
    missing: list[str] = []
    remedy: list[str] = []


class Simulation(Record, frozen=True, kw_only=True):
    """The decisions of a retry policy for a job or for a series of failures. `outcome`: succeeded, failed, cancelled or open."""

    outcome: str
    job_id: str | None = None
    state: str | None = None
    attempts: int = 0
    waited_seconds: float = 0.0
    decisions: list[dict[str, Any]] = []


class FieldError(msgspec.Struct, frozen=True, kw_only=True):
    """One fault of a request: its place (a JSON pointer, RFC 6901) and a description."""

    pointer: str = ""
    detail: str = ""


class Problem(Record, frozen=True, kw_only=True):
    """An error answer (RFC 9457), with the members that kube-job-runner adds."""

    status: int = 0
    type: str = ""
    title: str = ""
    detail: str = ""
    code: str = ""
    request_id: str | None = None
    retryable: bool | None = None
    errors: list[FieldError] = []


class BatchAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The result for one job of a batch: the `job`, or the `problem` why it was refused."""

    status: int
    job: Job | None = None
    problem: Problem | None = None


class LogChunk(msgspec.Struct, frozen=True):
    """A piece of the log of one attempt: raw bytes, cut anywhere."""

    attempt: int
    data: bytes


def read(type_: type[RecordT], raw: Mapping[str, Any]) -> RecordT:
    """Return `raw` as `type_`. A null counts as missing, except in a field whose default is None.

    Raises:
        ValueError: the object does not have the shape of `type_`.
    """
    nullable = {field.encode_name for field in msgspec.structs.fields(type_) if field.default is None}
    given = {key: value for key, value in raw.items() if key != "raw" and (value is not None or key in nullable)}
    return msgspec.convert({**given, "raw": dict(raw)}, type_)
