"""What is needed of the store, split by who needs it: submit, read, process, observe, sweep, tokens, health."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Literal, Protocol
from uuid import UUID

import msgspec

from kube_job_runner.domain.decide.admission import QueueStanding
from kube_job_runner.domain.job import Anomaly, Attempt, Job, Transition
from kube_job_runner.domain.limits import AdmissionLimits
from kube_job_runner.domain.messages import Outgoing
from kube_job_runner.domain.spec.model import JobSpec
from kube_job_runner.domain.states import State


class Submission(msgspec.Struct, frozen=True, kw_only=True):
    """One job to store, with its encoded spec, and the idempotency key of the request if it had one."""

    job: Job
    spec: bytes
    idempotency_key: str | None = None
    request_hash: bytes = b""
    response: bytes = b""


class SubmitOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a submission: created, replayed (the first answer is in `response`), or refused for its key."""

    status: Literal["created", "replayed", "mismatch"]
    job_id: UUID
    response: bytes = b""


class SubmitStore(Protocol):
    """What the web server may write."""

    async def insert_jobs(self, submissions: Sequence[Submission]) -> list[SubmitOutcome]:
        """Store jobs, specs, first transitions and one `Submitted` message in one commit; outcomes in the same order.

        A key is scoped by the job's owner. Two submissions with one key, in one call or in two at once, give one job.

        Raises:
            DatabaseUnavailable: nothing is known to be stored; the same call may be made again with the same keys.
        """
        ...

    async def request_cancel(
        self, job_id: UUID, *, by: str, reason: str, grace_seconds: int | None = None
    ) -> Job | None:
        """Record a cancel request, if there is none yet and the job has not ended, with its message; return the job."""
        ...


class JobFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which jobs a list shows. `labels` holds (key, operator, values): `in`, `notin`, `exists`, `!exists`.

    `reason` alone means jobs that failed for it; with `states`, jobs of these states that have it.
    """

    states: tuple[State, ...] = ()
    queue: str | None = None
    namespace: str | None = None
    name: str | None = None
    labels: tuple[tuple[str, str, tuple[str, ...]], ...] = ()
    created_after: datetime | None = None
    created_before: datetime | None = None
    owner: str | None = None
    reason: str | None = None
    rerun_of: UUID | None = None
    before_id: UUID | None = None
    limit: int = 50


class JobReader(Protocol):
    """What the web server may read."""

    async def get_job(self, job_id: UUID) -> Job | None:
        """Return the job, or None."""
        ...

    async def get_spec(self, job_id: UUID) -> bytes | None:
        """Return the encoded spec of a job, or None."""
        ...

    async def list_jobs(self, query: JobFilter) -> list[Job]:
        """Return jobs newest first (by id, which sorts by submit time), at most `query.limit`, older than `before_id`."""
        ...

    async def list_attempts(self, job_id: UUID) -> list[Attempt]:
        """Return the attempts of a job, oldest first."""
        ...

    async def list_transitions(self, job_id: UUID) -> list[Transition]:
        """Return the transitions of a job, oldest first."""
        ...

    async def versions(self, job_ids: Collection[UUID]) -> dict[UUID, int]:
        """Return the present version of each of these jobs; unknown ids are left out. One query for any number."""
        ...

    async def queue_standing(self, job_id: UUID, limits: AdmissionLimits) -> QueueStanding | None:
        """Return where a job that waits for admission stands; None when it does not wait, or is not due yet."""
        ...


class RecordReader(JobReader, Protocol):
    """What the whole record of a job is read from."""

    async def list_anomalies(self, job_id: UUID) -> list[Anomaly]:
        """Return the evidence that contradicts a job's terminal state, oldest first."""
        ...


class LoadedJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job as the processor loads it: its attempts by number, and its spec where `decide` may have to create from it."""

    job: Job
    attempts: Mapping[int, Attempt] = {}
    spec: JobSpec | None = None


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """Jobs as of one moment, and that moment on the database's clock: the one clock that all decisions use.

    `unreadable` are jobs whose rows this program cannot read (a newer one wrote them, say), with why.
    """

    now: datetime
    jobs: Mapping[UUID, LoadedJob]
    unreadable: Mapping[UUID, str] = {}


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """All new rows of one job. It is applied only when the job's version in the store is still `expected_version`."""

    expected_version: int
    job: Job
    attempts: tuple[Attempt, ...] = ()
    transitions: tuple[Transition, ...] = ()
    anomalies: tuple[Anomaly, ...] = ()
    messages: tuple[Outgoing, ...] = ()


class ProcessStore(Protocol):
    """What the messages-processor does with the store."""

    async def load(self, job_ids: Collection[UUID]) -> Snapshot:
        """Return these jobs with all their attempts; the spec only of jobs in `queued`. Unknown ids are left out."""
        ...

    async def commit(self, changes: Sequence[Change], *, receipts: Mapping[UUID, Sequence[str]]) -> set[UUID]:
        """Apply the changes whose version still fits, in one transaction; return the ids of the jobs applied.

        `receipts` are the queue receipts handled for each job (with or without a change). Where the queue is
        transactional, those of applied jobs and of jobs without a change are acknowledged in the same transaction.
        """
        ...

    async def admit(self, limits: AdmissionLimits, *, limit: int, lease_seconds: float) -> Snapshot:
        """Admit up to `limit` waiting jobs that are due, as far as the limits allow, and return them with their specs.

        The order is priority (higher first), then `due_at`, then id; a queue without room holds up no other. However many
        call at once, no limit is ever passed (promise I11): jobs in flight are counted from their rows, one call after the
        other. An admitted job's `next_check_at` is `lease_seconds` ahead at the most: should the caller die before it
        has created the cluster job, the check finds the job admitted, and it is created then.
        """
        ...


class KnownClusterJob(msgspec.Struct, frozen=True, kw_only=True):
    """A cluster job that the store believes to exist."""

    job_id: UUID
    attempt: int
    namespace: str
    cluster_uid: str


class ObserveStore(Protocol):
    """What the watchers may read."""

    async def known_cluster_jobs(self) -> list[KnownClusterJob]:
        """Return the cluster jobs with a uid that are not recorded as gone."""
        ...


class HistoryRemoved(msgspec.Struct, frozen=True, kw_only=True):
    """How many transitions one batch removed, and whether there may be more to look at now."""

    deleted: int
    more: bool


class RetentionStore(Protocol):
    """What is removed from the store by age; each call is one bounded batch and tells how much it did."""

    async def expire_idempotency_keys(self, *, older_than_seconds: float, limit: int) -> int:
        """Remove idempotency keys of that age."""
        ...

    async def delete_old_jobs(self, *, older_than_seconds: float, limit: int) -> int:
        """Remove terminal jobs of that age, with specs, attempts and transitions, whose cluster jobs are all gone."""
        ...

    async def delete_old_transitions(self, *, older_than_seconds: float, limit: int) -> HistoryRemoved:
        """Remove the history of jobs that ended so long ago: of those among the next `limit` transitions, on a walk over all."""
        ...

    async def delete_old_dead_letters(self, *, older_than_seconds: float, limit: int) -> int:
        """Remove dead letters of that age."""
        ...

    async def vacuum_behind(self) -> str | None:
        """Return the table that vacuum has not cleaned up behind us, if there is one: the worst."""
        ...


class SweepStore(RetentionStore, Protocol):
    """What the sweeper does with the store; each call is one bounded batch and tells how much it did."""

    async def send_due_checks(self, *, limit: int, rearm_seconds: float) -> int:
        """Send a `Check` for jobs whose `next_check_at` has passed and move that time by `rearm_seconds`."""
        ...


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """An API token: what we keep of it. `token_hash` is the SHA-256 of the secret; the secret itself is shown once."""

    name: str
    token_hash: bytes
    prefix: str
    created_at: datetime | None = None
    expires_at: datetime | None = None
    revoked_at: datetime | None = None


class TokenStore(Protocol):
    """API tokens."""

    async def find_token(self, token_hash: bytes) -> Token | None:
        """Return the token with that hash if it may be used now (not revoked, not expired), by the database's clock."""
        ...

    async def add_token(self, token: Token) -> None:
        """Store a token; one of the same name and hash is left as it is."""
        ...

    async def list_tokens(self) -> list[Token]:
        """Return all tokens, newest first."""
        ...

    async def revoke_token(self, name: str) -> int:
        """Revoke all tokens of that name; return how many."""
        ...


class RecordedClusterJob(msgspec.Struct, frozen=True, kw_only=True):
    """A cluster job that the store believes to exist, and where; `pod_uids` are its pods not seen to be gone."""

    job_id: UUID
    attempt: int
    namespace: str
    cluster_name: str
    cluster_uid: str
    pod_uids: tuple[str, ...] = ()


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """What the rows say of an attempt: whether its job has ended, which attempt that job is at, and what it made.

    `cluster_uid` is None where the attempt has no row, or none of its own in the cluster yet.
    """

    job_ended: bool
    job_attempt: int
    cluster_uid: str | None = None
    gone: bool = False


class InstallationStore(Protocol):
    """Who we are: the id that was drawn when this database was made."""

    async def installation_id(self) -> str:
        """Return the id of the installation that this database belongs to, a UUID. It is the label of all that we create."""
        ...


class ReconcileStore(InstallationStore, Protocol):
    """What the sweep for orphans and zombies reads."""

    async def recorded_cluster_jobs(self, *, after: tuple[UUID, int] | None, limit: int) -> list[RecordedClusterJob]:
        """Return a page of the cluster jobs that are not recorded as gone, by job id and attempt, from `after` on."""
        ...

    async def claims(self, attempts: Collection[tuple[UUID, int]]) -> dict[tuple[UUID, int], Claim]:
        """Return what the rows say of these attempts now; those of jobs that have no row are left out."""
        ...


class QueueDepth(msgspec.Struct, frozen=True, kw_only=True):
    """How the store and the queue stand, for metrics: approximate where exact would be dear."""

    jobs_by_state: Mapping[str, int]
    jobs_by_queue: Mapping[tuple[str, str], int] = {}
    """Jobs that have not ended, by queue and state."""
    messages: int
    oldest_message_seconds: float
    outbox_oldest_seconds: float = 0.0
    """Age of the oldest message in the database that is due to go out: the same where the database is the queue."""
    dead_letters: int


class Health(Protocol):
    """Whether the store can serve."""

    async def check(self) -> dict[str, str | None]:
        """Return the readiness checks by name (`database`, `schema`): None when good, else what is wrong."""
        ...

    async def depth(self) -> QueueDepth:
        """Return the depth figures for metrics."""
        ...
