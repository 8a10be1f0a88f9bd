"""Job and Attempt: the rows that everything else is about."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Literal
from uuid import UUID

import msgspec

from kube_job_runner.domain.facts import AttemptFacts
from kube_job_runner.domain.spec import Retry, Timeouts


class State(StrEnum):
    """Where a job is in its life. The legal transitions are in `lifecycle.TRANSITIONS`."""

    QUEUED = "queued"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


LogStatus = Literal["", "following", "stored", "lost"]

TERMINAL = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED})


class Policy(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The part of a spec that decisions need: it lies in the hot row, so that deciding never loads a spec."""

    timeouts: Timeouts = Timeouts()
    retry: Retry = Retry()


class CancelRequest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who asked for the end of a job, when and why. Written by the web server, read by the processor."""

    at: datetime
    by: str = ""
    reason: str = ""


class Verdict(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the rules conclude about an attempt: outcome, stable reason code, one sentence, and the numbers behind it.

    `outcome` is `succeeded`, `failed` or `cancelled`; `retryable` says whether the retry policy may be asked.
    """

    outcome: State
    reason: str
    explanation: str = ""
    exit_code: int | None = None
    signal: int | None = None
    retryable: bool = False


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a job: one Kubernetes Job with `backoffLimit: 0`.

    `cluster_uid` is None until the cluster job is known to exist. `unhealthy_reason` and `unhealthy_since` are the
    failing signal now seen and when it was first seen, so that a restart of ours does not reset a grace period.
    `logs` is how far the log-collector is with its log, and `logs_lost` why there is none, or only a part.
    """

    job_id: UUID
    number: int
    namespace: str
    cluster_name: str
    cluster_uid: str | None = None
    created_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    node: str = ""
    pod_name: str = ""
    verdict: Verdict | None = None
    decided_at: datetime | None = None
    unhealthy_reason: str = ""
    unhealthy_since: datetime | None = None
    delete_requested_at: datetime | None = None
    gone_at: datetime | None = None
    logs: LogStatus = ""
    logs_lost: str = ""
    facts: AttemptFacts = AttemptFacts()


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """The hot row of a job. `version` grows by one with each change and is the fence of every compare-and-set.

    `attempt` is the number of the newest attempt that exists or existed in the cluster, 0 before the first.
    `due_at` is when a queued job may be created; `next_check_at` when `decide` wants to look again without a message.
    """

    id: UUID
    name: str
    queue: str = "default"
    namespace: str = "default"
    priority: int = 0
    owner: str = ""
    labels: dict[str, str] = {}
    policy: Policy = Policy()
    state: State = State.QUEUED
    version: int = 1
    attempt: int = 0
    created_at: datetime
    due_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    next_check_at: datetime | None = None
    cancel: CancelRequest | None = None
    reason: str = ""
    explanation: str = ""
    exit_code: int | None = None

    @property
    def terminal(self) -> bool:
        """Whether the state can never change again (promise I4)."""
        return self.state in TERMINAL


class Transition(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One change of a job's state: one history row. `from_state` is None for the submit."""

    job_id: UUID
    version: int
    attempt: int
    from_state: State | None = None
    to_state: State
    at: datetime
    reason: str = ""
    explanation: str = ""
    exit_code: int | None = None


class Anomaly(msgspec.Struct, frozen=True, kw_only=True):
    """Evidence that contradicts a terminal state. It is recorded once per kind and attempt, and changes nothing."""

    job_id: UUID
    attempt: int
    kind: str
    detail: str
    at: datetime
