"""The rows of a job: the job itself, its attempts, its transitions and its anomalies; and how a spec becomes a job."""

from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

import msgspec

from kube_job_runner.domain import names
from kube_job_runner.domain.facts import AttemptFacts
from kube_job_runner.domain.spec.model import JobSpec, Retry, Timeouts
from kube_job_runner.domain.states import TERMINAL, State

LogStatus = Literal["", "following", "stored", "lost"]
LogProgress = Literal["", "following", "stored", "lost", "again"]


class Policy(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The part of a spec that decisions need. It is kept in the job's row, so a decision never loads a spec.

    `memory` is that of the spec, kept only where a retry rule may grow it.
    """

    timeouts: Timeouts = Timeouts()
    retry: Retry = Retry()
    memory: str = ""
    stop_grace_seconds: int = 30


class CancelRequest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who requested the cancel of a job, when and why. Written by the web server, read by the processor.

    `grace_seconds` replaces the spec's stop grace: 0 kills at once.
    """

    at: datetime
    by: str = ""
    reason: str = ""
    grace_seconds: int | None = None

    @property
    def by_whom(self) -> str:
        """Who requested it, to follow a verb in a sentence: ` by ann`; nothing when that is not known."""
        return f" by {self.by}" if self.by else ""


Cause = Literal["", "permanent", "application", "infrastructure"]


class Verdict(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the rules conclude about an attempt: outcome, stable reason code, one sentence, and the numbers behind it.

    `outcome` is `succeeded`, `failed` or `cancelled`. `cause` says whose failure it is, and so which budget of retries pays:
    the user's attempts (`application`), the free retries (`infrastructure`), or none, because another attempt would fail too
    (`permanent`). `rule` names the row of the failure table that matched.
    """

    outcome: State
    reason: str
    explanation: str = ""
    exit_code: int | None = None
    signal: int | None = None
    cause: Cause = ""
    rule: str = ""


class Marks(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """When an attempt passed the steps that Kubernetes shows only while they last, by the cluster's clock.

    `waited_seconds` is how long it waited for room in the cluster so far, without the wait that lasts now.
    """

    scheduled_at: datetime | None = None
    pulling_at: datetime | None = None
    starting_at: datetime | None = None
    waited_seconds: float = 0.0


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a job: one Kubernetes Job with `backoffLimit: 0`.

    `cluster_uid` is None until the cluster job is known to exist. `unhealthy_reason` is the failing signal that is seen now,
    and `unhealthy_since` when it was first seen: they are stored, so a restart does not reset a grace period.
    `delete_grace_seconds` is the grace period of the last delete; None means that of the spec.
    `memory` replaces that of the spec when a retry rule made it grow.
    `logs` is how far the log-collector is with the log, and `logs_lost` says why the log is missing or incomplete. A decision
    that finds that the program runs again after its log was stored sets `logs` to `again`: there is more to collect.
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
    delete_grace_seconds: int | None = None
    gone_at: datetime | None = None
    memory: str = ""
    marks: Marks = Marks()
    logs: LogProgress = ""
    logs_lost: str = ""
    facts: AttemptFacts = AttemptFacts()


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """The row of a job. `version` grows with each change; every write is a compare-and-set on it.

    `attempt` is the number of the newest attempt that exists or existed in the cluster, 0 before the first.
    `due_at` is when a queued job may be created. `next_check_at` is when `decide` wants to look again without a message.
    `admitted_at` is when this attempt was admitted; None while it waits. A job that ended keeps its last one.
    `waiting_since` is since when its cluster job waits for room or is suspended; None when it does not.
    `create_until` is until when a processor may send a create whose outcome is not recorded; None when there is none.
    `rerun_of` is the job that this one runs again. `traceparent` is the trace that it belongs to; None without one.
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
    admitted_at: datetime | None = None
    waiting_since: datetime | None = None
    create_until: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    next_check_at: datetime | None = None
    cancel: CancelRequest | None = None
    reason: str = ""
    explanation: str = ""
    exit_code: int | None = None
    rerun_of: UUID | None = None
    traceparent: str | None = None

    @property
    def terminal(self) -> bool:
        """Whether the state can never change again (promise I4)."""
        return self.state in TERMINAL

    @property
    def in_flight(self) -> bool:
        """Whether the job counts against the limits: it is in the cluster, or may be at any moment."""
        return self.admitted_at is not None and not self.terminal

    @property
    def queue_deadline(self) -> datetime:
        """Until when a job may wait for its next attempt: in the queue, and for room in the cluster."""
        return max(self.created_at, self.due_at) + timedelta(seconds=self.policy.timeouts.queue_seconds)

    def run_deadline(self, started_at: datetime) -> datetime:
        """Return until when an attempt that started then must have ended."""
        return started_at + timedelta(seconds=self.policy.timeouts.run_seconds)


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


_encode = msgspec.json.Encoder().encode
_DEFAULT_POLICY = Policy()


def new_job(
    spec: JobSpec,
    *,
    owner: str,
    default_namespace: str,
    now: datetime,
    rerun_of: UUID | None = None,
    traceparent: str | None = None,
) -> tuple[Job, bytes]:
    """Return the new job of a checked spec, and the encoded spec that is stored with it."""
    job = Job(
        id=names.new_job_id(now),
        name=spec.name or names.default_job_name(spec.image),
        queue=spec.queue,
        namespace=spec.namespace or default_namespace,
        priority=spec.priority,
        owner=owner,
        labels=spec.labels,
        policy=_policy(spec),
        created_at=now,
        due_at=now,
        next_check_at=now + timedelta(seconds=spec.timeouts.queue_seconds),
        rerun_of=rerun_of,
        traceparent=traceparent,
    )
    return job, _encode(spec)


def _policy(spec: JobSpec) -> Policy:
    grows = any(rule.action == "grow_memory" for rule in spec.retry.rules)
    policy = Policy(
        timeouts=spec.timeouts,
        retry=spec.retry,
        memory=(spec.resources.memory or "") if grows else "",
        stop_grace_seconds=spec.stop_grace_seconds,
    )
    return _DEFAULT_POLICY if policy == _DEFAULT_POLICY else policy
