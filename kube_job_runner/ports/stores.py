"""Ports for writing the store: submit, process, observe, sweep, reconcile, tokens, health."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Literal, Protocol
from uuid import UUID

import msgspec

from kube_job_runner.domain.decide.parking import Trial
from kube_job_runner.domain.freshness import Freshness, WatchReport
from kube_job_runner.domain.job import Anomaly, Attempt, Job, Transition
from kube_job_runner.domain.limits import AdmissionLimits
from kube_job_runner.domain.messages import Outgoing
from kube_job_runner.domain.spec.model import JobSpec
from kube_job_runner.ports.clusters import BoundCluster

# --- The web-server ---


class Submission(msgspec.Struct, frozen=True, kw_only=True):
    """One job to store, with the JSON text of its spec.

    With an idempotency key, `request_hash` identifies the request, and `response` is stored for those who repeat it.
    """

    job: Job
    spec: bytes
    idempotency_key: str | None = None
    request_hash: bytes = b""
    response: bytes = b""


class SubmitOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What happened to a submission.

    `created`: the job was stored. `replayed`: the same request came before, and `response` is its answer. `mismatch`:
    another request has used the key. `job_id` is the job of the key.
    """

    status: Literal["created", "replayed", "mismatch"]
    job_id: UUID
    response: bytes = b""


class SubmitStore(Protocol):
    """What the web-server writes."""

    async def insert_jobs(self, submissions: Sequence[Submission]) -> list[SubmitOutcome]:
        """Store jobs, specs, first transitions and one `Submitted` message in one commit. Outcomes are in the same order.

        The scope of a key is the owner of the job. Two submissions with one key give one job, in one call and in two calls
        at the same time.

        Raises:
            DatabaseUnavailable: it is not known whether anything was stored. The same call may be made again, with the same
                keys and job ids.
        """
        ...

    async def request_cancel(
        self, job_id: UUID, *, by: str, reason: str, grace_seconds: int | None = None
    ) -> Job | None:
        """Record a cancel request, with its message, and return the job; None: there is no such job.

        Nothing is recorded for a job that has ended. A second request counts only if it gives less grace.
        """
        ...


# --- The messages-processor ---


class LoadedJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job with its attempts by number. The spec is loaded only if `decide` may create a cluster job from it.

    `probe` says that it was admitted to find out whether its parked namespace has room. `parked` is why the namespace of a
    queued job takes no jobs now, in words; empty while it takes jobs.
    """

    job: Job
    attempts: Mapping[int, Attempt] = {}
    spec: JobSpec | None = None
    probe: bool = False
    parked: str = ""


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """Jobs as of one moment. `now` is that moment by the database's clock; all decisions use this clock.

    `unreadable` holds the jobs whose rows this program cannot read, with the reason. A newer program may have written them.
    `watched` says when nobody watched the cluster: the processor adds it, the store does not.
    """

    now: datetime
    jobs: Mapping[UUID, LoadedJob]
    unreadable: Mapping[UUID, str] = {}
    watched: Freshness = Freshness()


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """All new rows of one job. It is applied only if the version in the store is still `expected_version`.

    `trial` is what its create said about the room of its namespace; None when it said nothing.
    """

    expected_version: int
    job: Job
    attempts: tuple[Attempt, ...] = ()
    transitions: tuple[Transition, ...] = ()
    anomalies: tuple[Anomaly, ...] = ()
    messages: tuple[Outgoing, ...] = ()
    trial: Trial | None = None


class WatchReader(Protocol):
    """When nobody watched, for those who decide."""

    async def watches(self) -> Freshness:
        """Return what is known of every watch: one small row per kind and namespace."""
        ...


class ProcessStore(BoundCluster, Protocol):
    """What the messages-processor does with the store."""

    async def load(self, job_ids: Collection[UUID]) -> Snapshot:
        """Return these jobs with all their attempts, and with the spec of each job in `queued`. Unknown ids are left out."""
        ...

    async def commit(self, changes: Sequence[Change], *, receipts: Mapping[UUID, Sequence[str]]) -> set[UUID]:
        """Apply the changes whose version still fits, in one transaction; return the ids of their jobs.

        `receipts` are the queue receipts that were handled for each job, with or without a change. A transactional queue
        acknowledges them in the same transaction, except those of jobs whose change did not fit.

        The trials of the changes park their namespaces, or open them (`domain/decide/parking.py`), in this transaction.
        """
        ...

    async def admit(self, limits: AdmissionLimits, *, limit: int, lease_seconds: float) -> Snapshot:
        """Admit up to `limit` waiting jobs that are due, as far as the limits allow; return them with their specs.

        The order is priority (higher first), then `due_at`, then id. A full queue does not hold up the others. No limit is
        ever passed (promise I11), for any number of callers: the calls run one after the other, and count the jobs in
        flight from their rows. `next_check_at` of an admitted job is at most `lease_seconds` ahead. If the caller dies
        before it creates the cluster job, the check finds the job admitted and creates it.

        Jobs of parked namespaces are passed over, however many there are. When the time of a parked namespace has come, as many
        are admitted as probes as its allowance says, and no others before `lease_seconds` have passed or their trial is
        committed.
        """
        ...


# --- The watchers ---


class KnownClusterJob(msgspec.Struct, frozen=True, kw_only=True):
    """A cluster job that exists according to the store."""

    job_id: UUID
    attempt: int
    namespace: str
    cluster_uid: str
    cluster_name: str = ""


class KnownPod(msgspec.Struct, frozen=True, kw_only=True):
    """A pod of an attempt that exists according to the store."""

    job_id: UUID
    attempt: int
    namespace: str
    uid: str


class ObserveStore(BoundCluster, Protocol):
    """What the watchers read."""

    async def known_cluster_jobs(self) -> list[KnownClusterJob]:
        """Return the cluster jobs with a uid that are not recorded as gone."""
        ...

    async def record_watches(self, kind: str, reports: Sequence[WatchReport]) -> None:
        """Join these reports into what is known of the watches of a kind. A repeated report changes nothing."""
        ...


# --- The sweeper ---


class HistoryRemoved(msgspec.Struct, frozen=True, kw_only=True):
    """How many transitions one batch removed, and whether another batch may find more now."""

    deleted: int
    more: bool


class RetentionStore(Protocol):
    """Removal by age. Each call is one bounded batch and returns how much it removed; ages are in seconds."""

    async def expire_idempotency_keys(self, *, older_than_seconds: float, limit: int) -> int:
        """Remove idempotency keys of that age."""
        ...

    async def delete_old_jobs(self, *, older_than_seconds: float, limit: int) -> int:
        """Remove jobs that ended that long ago, with all their rows, unless one of their cluster jobs or logs is still there."""
        ...

    async def delete_old_transitions(self, *, older_than_seconds: float, limit: int) -> HistoryRemoved:
        """Remove the transitions of jobs that ended that long ago, among the next `limit` transitions of a walk over all."""
        ...

    async def delete_old_dead_letters(self, *, older_than_seconds: float, limit: int) -> int:
        """Remove dead letters of that age."""
        ...

    async def vacuum_behind(self) -> str | None:
        """Return the table with the most rows that vacuum has not removed yet; None: vacuum keeps up."""
        ...


class SweepStore(RetentionStore, Protocol):
    """What the sweeper does with the store. Each call is one bounded batch."""

    async def send_due_checks(self, *, limit: int, rearm_seconds: float) -> int:
        """Send a `Check` for jobs whose `next_check_at` has passed, and move that time by `rearm_seconds`; return how many."""
        ...


class RecordedClusterJob(msgspec.Struct, frozen=True, kw_only=True):
    """A cluster job that exists according to the store. `pod_uids` are its pods that were not seen to be gone."""

    job_id: UUID
    attempt: int
    namespace: str
    cluster_name: str
    cluster_uid: str
    pod_uids: tuple[str, ...] = ()


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """What the rows say about an attempt.

    `job_attempt` is the number of the job's newest attempt. `cluster_uid` is None if the attempt has no row, or has created
    nothing yet.
    """

    job_ended: bool
    job_attempt: int
    cluster_uid: str | None = None
    gone: bool = False


class InstallationStore(Protocol):
    """The identity of this database."""

    async def installation_id(self) -> str:
        """Return the id of this database, a UUID that was chosen when it was created. It labels everything that we create.

        Raises:
            ConfigurationError: the database has lost its id.
        """
        ...


class ReconcileStore(InstallationStore, BoundCluster, Protocol):
    """What the comparison of the store with the cluster reads."""

    async def recorded_cluster_jobs(self, *, after: tuple[UUID, int] | None, limit: int) -> list[RecordedClusterJob]:
        """Return a page of the cluster jobs that are not recorded as gone, by job id and attempt. It begins after `after`."""
        ...

    async def claims(self, attempts: Collection[tuple[UUID, int]]) -> dict[tuple[UUID, int], Claim]:
        """Return what the rows say about these attempts now. Attempts of unknown jobs are left out."""
        ...


# --- Tokens and health ---


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """An API token as it is stored. `token_hash` is the SHA-256 of the secret, which is shown once and not stored."""

    name: str
    token_hash: bytes
    prefix: str
    created_at: datetime | None = None
    expires_at: datetime | None = None
    revoked_at: datetime | None = None


class TokenStore(Protocol):
    """API tokens."""

    async def find_token(self, token_hash: bytes) -> Token | None:
        """Return the token with that hash, or None. One that is revoked or expired, by the database's clock, is not found."""
        ...

    async def add_token(self, token: Token) -> None:
        """Store a token. If the hash is there already, nothing changes."""
        ...

    async def list_tokens(self) -> list[Token]:
        """Return all tokens, the newest first."""
        ...

    async def revoke_token(self, name: str) -> int:
        """Revoke all tokens of that name; return how many."""
        ...


class QueueDepth(msgspec.Struct, frozen=True, kw_only=True):
    """How much waits in the store and the queue, for metrics. Numbers may be approximate where exact ones cost too much."""

    jobs_by_state: Mapping[str, int]
    jobs_by_queue: Mapping[tuple[str, str], int] = {}
    """Jobs that have not ended, by queue and state."""
    messages: int
    oldest_message_seconds: float
    outbox_oldest_seconds: float = 0.0
    """The age of the oldest due message in the database. It equals `oldest_message_seconds` if the database is the queue."""
    dead_letters: int


class Health(Protocol):
    """Readiness and depth of the store."""

    async def check(self) -> dict[str, str | None]:
        """Return the readiness checks by name (`database`, `schema`): None, or what is wrong. Never raises."""
        ...

    async def depth(self) -> QueueDepth:
        """Return the figures for metrics."""
        ...
