"""The store and the queue in memory, on a clock that a test owns: for simulations of hours in a second.

It behaves like `adapters/postgres` where a processor, a watcher or the sweeper can see a difference: compare-and-set by
version, one transaction for rows and messages, leases, priorities. It is not an adapter: only simulations use it, and a result
of theirs counts once PostgreSQL shows it as well.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from uuid import UUID

import msgspec

from kube_job_runner.domain import messages
from kube_job_runner.domain.decide import parking
from kube_job_runner.domain.decide.parking import Parking
from kube_job_runner.domain.freshness import Freshness, Watched, WatchReport, joined
from kube_job_runner.domain.job import Anomaly, Attempt, CancelRequest, Job, Transition
from kube_job_runner.domain.limits import AdmissionLimits
from kube_job_runner.domain.messages import CancelRequested, Check, Outgoing, Submitted
from kube_job_runner.domain.spec.model import JobSpec
from kube_job_runner.domain.states import State
from kube_job_runner.ports import (
    Change,
    Clock,
    ClusterIdentity,
    Delivery,
    HistoryRemoved,
    KnownClusterJob,
    KnownPod,
    LoadedJob,
    LogsExpired,
    Snapshot,
    Submission,
)


class _Message(msgspec.Struct, kw_only=True):
    number: int
    body: bytes
    priority: int
    available_at: float
    deliveries: int = 0
    answered: bool = True
    token: int = 0


class MemoryStore:
    """`ProcessStore`, `ObserveStore`, `SweepStore`, `SubmitStore` (without idempotency keys) and `MessageQueue` in one.

    Messages of one priority are received in random order, and some of them twice, as the queue's port allows.
    """

    transactional = True
    receive_seconds = 1.0

    def __init__(self, clock: Clock, *, seed: int, twice: float = 0.1) -> None:
        self.jobs: dict[UUID, Job] = {}
        self.attempts: dict[UUID, dict[int, Attempt]] = {}
        self.transitions: dict[UUID, list[Transition]] = {}
        self.anomalies: list[Anomaly] = []
        self.dead_letters: list[str] = []
        self.parked: dict[str, Parking] = {}
        self.watched: dict[tuple[str, str], Watched] = {}
        self._clusters: list[ClusterIdentity] = []
        self._specs: dict[UUID, JobSpec] = {}
        self._clock = clock
        self._random = random.Random(seed)
        self._twice = twice
        self._messages: dict[int, _Message] = {}
        self._numbers = 0
        self._came = asyncio.Event()

    # --- SubmitStore ------------------------------------------------------------------------------------------------

    async def insert_jobs(self, submissions: Sequence[Submission]) -> None:
        """Store jobs that have no keys."""
        for submission in submissions:
            job = submission.job
            self.jobs[job.id], self.attempts[job.id] = job, {}
            self._specs[job.id] = msgspec.json.decode(submission.spec, type=JobSpec)
            row = Transition(job_id=job.id, version=job.version, attempt=0, to_state=job.state, at=job.created_at)
            self.transitions[job.id] = [row]
        await self.send([Outgoing(message=Submitted(job_id=submissions[0].job.id))])

    async def request_cancel(
        self, job_id: UUID, *, by: str, reason: str, grace_seconds: int | None = None
    ) -> Job | None:
        """Record a cancel request: the first one, or one with less grace."""
        job = self.jobs.get(job_id)
        if job is None or job.terminal:
            return job
        known = job.cancel
        if known is not None and (
            grace_seconds is None or (known.grace_seconds is not None and grace_seconds >= known.grace_seconds)
        ):
            return job
        first = known or CancelRequest(at=self._clock.now(), by=by, reason=reason)
        cancel = msgspec.structs.replace(first, grace_seconds=grace_seconds)
        due = min(job.next_check_at or self._clock.now(), self._clock.now())
        self.jobs[job_id] = msgspec.structs.replace(job, cancel=cancel, version=job.version + 1, next_check_at=due)
        await self.send([Outgoing(message=CancelRequested(job_id=job_id))])
        return self.jobs[job_id]

    # --- ProcessStore -----------------------------------------------------------------------------------------------

    async def load(self, job_ids: Collection[UUID]) -> Snapshot:
        """Return these jobs as of now."""
        return Snapshot(
            now=self._clock.now(), jobs={job_id: self._loaded(job_id) for job_id in job_ids if job_id in self.jobs}
        )

    def _loaded(self, job_id: UUID) -> LoadedJob:
        job = self.jobs[job_id]
        spec = self._specs[job_id] if job.state is State.QUEUED else None
        one = self.parked.get(job.namespace) if job.state is State.QUEUED else None
        parked = parking.words(one.namespace, one.reason, one.explanation) if one is not None else ""
        return LoadedJob(job=job, attempts=dict(self.attempts[job_id]), spec=spec, parked=parked)

    async def admit(self, limits: AdmissionLimits, *, limit: int, lease_seconds: float) -> Snapshot:
        """Admit waiting jobs that are due, oldest first, as far as the limits allow."""
        now = self._clock.now()
        admitted: dict[UUID, LoadedJob] = {}
        waiting = [
            job
            for job in self.jobs.values()
            if job.state is State.QUEUED and job.admitted_at is None and job.cancel is None and job.due_at <= now
        ]
        for name, one in list(self.parked.items()):
            stuck = any(job.waiting_since and job.namespace == name for job in self.jobs.values())
            if one.reason == parking.PODS_REFUSED and not stuck:
                del self.parked[name]
        allowances = {one.namespace: one.allowance if one.probe_at <= now else 0 for one in self.parked.values()}
        for job in sorted(waiting, key=lambda job: (-job.priority, job.due_at, job.id)):
            if len(admitted) >= limit:
                break
            flying = [other.queue for other in self.jobs.values() if other.in_flight]
            of_queue = limits.of_queue(job.queue)
            here = [other for other in self.jobs.values() if other.queue == job.queue]
            if any(other.waiting_since for other in here) and len(flying) >= limits.total - limits.kept:
                continue
            if len(flying) >= limits.total or (of_queue is not None and flying.count(job.queue) >= of_queue):
                continue
            probe = job.namespace in self.parked
            if probe:
                if not allowances[job.namespace]:
                    continue
                allowances[job.namespace] -= 1
                later = now + timedelta(seconds=lease_seconds)
                self.parked[job.namespace] = msgspec.structs.replace(self.parked[job.namespace], probe_at=later)
            until = now + timedelta(seconds=lease_seconds)
            self.jobs[job.id] = msgspec.structs.replace(
                job, admitted_at=now, version=job.version + 1, create_until=until, next_check_at=until
            )
            admitted[job.id] = msgspec.structs.replace(self._loaded(job.id), probe=probe)
        return Snapshot(now=now, jobs=admitted)

    async def commit(self, changes: Sequence[Change], *, receipts: Mapping[UUID, Sequence[str]]) -> set[UUID]:
        """Apply the changes whose version still fits, acknowledge what they answer, send what they say."""
        fits = [change for change in changes if self.jobs[change.job.id].version == change.expected_version]
        for change in fits:
            job_id = change.job.id
            # The request to cancel is the web server's: its columns are not written by a change.
            self.jobs[job_id] = msgspec.structs.replace(change.job, cancel=self.jobs[job_id].cancel)
            self.attempts[job_id].update({attempt.number: attempt for attempt in change.attempts})
            self.transitions[job_id] += change.transitions
            known = {(anomaly.job_id, anomaly.attempt, anomaly.kind) for anomaly in self.anomalies}
            self.anomalies += [a for a in change.anomalies if (a.job_id, a.attempt, a.kind) not in known]
            await self.send(change.messages)
        for trial in parking.joined(change.trial for change in fits if change.trial is not None):
            after = parking.after(self.parked.get(trial.namespace), trial, self._clock.now())
            self.parked.pop(trial.namespace, None)
            if after is not None:
                self.parked[trial.namespace] = after
        applied = {change.job.id for change in fits}
        lost = {change.job.id for change in changes} - applied
        await self.ack([receipt for job_id, of_job in receipts.items() if job_id not in lost for receipt in of_job])
        return applied

    # --- ObserveStore, SweepStore -----------------------------------------------------------------------------------

    async def bind_cluster(self, identity: ClusterIdentity) -> list[ClusterIdentity]:
        """Bind to the first cluster."""
        self._clusters = self._clusters or [identity]
        return self._clusters

    async def known_cluster_jobs(self) -> list[KnownClusterJob]:
        """Return the cluster jobs that should exist."""
        return [
            KnownClusterJob(
                job_id=attempt.job_id,
                attempt=attempt.number,
                namespace=attempt.namespace,
                cluster_uid=attempt.cluster_uid,
            )
            for of_job in self.attempts.values()
            for attempt in of_job.values()
            if attempt.cluster_uid is not None and attempt.gone_at is None
        ]

    async def known_pods(self) -> list[KnownPod]:
        """Return the pods that should exist."""
        live = (attempt for of_job in self.attempts.values() for attempt in of_job.values())
        return [
            KnownPod(job_id=attempt.job_id, attempt=attempt.number, namespace=attempt.namespace, uid=pod.uid)
            for attempt in live
            if attempt.cluster_uid is not None and attempt.gone_at is None
            for pod in attempt.facts.pods
            if not pod.gone
        ]

    async def record_watches(self, kind: str, reports: Sequence[WatchReport]) -> None:
        """Join the reports of a watcher."""
        for report in reports:
            key = (kind, report.namespace)
            self.watched[key] = joined(self.watched.get(key), report, kind=kind, now=self._clock.now())

    async def watches(self) -> Freshness:
        """Return what is known of the watches."""
        return Freshness(dict(self.watched))

    async def send_due_checks(self, *, limit: int, rearm_seconds: float) -> int:
        """Send a `Check` for jobs whose next look is due."""
        now = self._clock.now()
        due = [job for job in self.jobs.values() if job.next_check_at is not None and job.next_check_at <= now][:limit]
        for job in due:
            later = now + timedelta(seconds=rearm_seconds)
            self.jobs[job.id] = msgspec.structs.replace(job, next_check_at=later)
        await self.send([Outgoing(message=Check(job_id=job.id)) for job in due])
        return len(due)

    async def expire_idempotency_keys(self, *, older_than_seconds: float, limit: int) -> int:
        """Keep no keys."""
        return 0

    async def delete_old_jobs(self, *, older_than_seconds: float, limit: int) -> int:
        """Forget nothing."""
        return 0

    async def delete_old_transitions(self, *, older_than_seconds: float, limit: int) -> HistoryRemoved:
        """Forget nothing."""
        return HistoryRemoved(deleted=0, more=False)

    async def delete_old_dead_letters(self, *, older_than_seconds: float, limit: int) -> int:
        """Forget nothing."""
        return 0

    async def vacuum_behind(self) -> str | None:
        """There is none."""
        return None

    async def expire_logs(self, *, older_than_seconds: float, limit: int) -> LogsExpired:
        """Keep no logs."""
        return LogsExpired(logs=0, chunks=0)

    async def delete_old_logs(self, *, older_than_seconds: float, limit: int) -> int:
        """Keep no logs."""
        return 0

    # --- MessageQueue -----------------------------------------------------------------------------------------------

    async def send(self, outgoing: Sequence[Outgoing]) -> None:
        """Send messages."""
        for each in outgoing:
            self._numbers += 1
            self._messages[self._numbers] = _Message(
                number=self._numbers,
                body=messages.encode(each.message),
                priority=each.priority,
                available_at=self._clock.monotonic() + each.delay_seconds,
            )
        self._came.set()

    async def receive(self, *, limit: int, wait_seconds: float, visibility_seconds: float) -> list[Delivery]:
        """Return messages, waiting for the first."""
        until = self._clock.monotonic() + wait_seconds
        while not (found := self._visible()):
            left = until - self._clock.monotonic()
            if left <= 0:
                return []
            self._came.clear()
            soonest = min((m.available_at for m in self._messages.values()), default=until) - self._clock.monotonic()
            try:
                async with asyncio.timeout(max(0.001, min(left, soonest))):
                    await self._came.wait()
            except TimeoutError:
                pass
        self._random.shuffle(found)
        found.sort(key=lambda message: -message.priority)
        return [self._delivered(message, visibility_seconds) for message in found[:limit]]

    def _visible(self) -> list[_Message]:
        return [m for m in self._messages.values() if m.available_at <= self._clock.monotonic()]

    def _delivered(self, message: _Message, visibility_seconds: float) -> Delivery:
        hidden_seconds = 0.05 if self._random.random() < self._twice else visibility_seconds
        message.available_at = self._clock.monotonic() + hidden_seconds
        message.deliveries += 1
        message.token += 1
        unfinished, message.answered = not message.answered, False
        receipt = f"{message.number}:{message.token}"
        return Delivery(body=message.body, receipt=receipt, deliveries=message.deliveries, unfinished=unfinished)

    def _held(self, receipts: Collection[str]) -> list[_Message]:
        pairs = [tuple(int(part) for part in receipt.split(":")) for receipt in receipts]
        return [
            self._messages[number]
            for number, token in pairs
            if number in self._messages and self._messages[number].token == token
        ]

    async def ack(self, receipts: Collection[str]) -> None:
        """Remove received messages."""
        for message in self._held(receipts):
            del self._messages[message.number]

    async def extend(self, receipts: Collection[str], *, visibility_seconds: float) -> None:
        """Hide received messages from now on for so long."""
        for message in self._held(receipts):
            message.available_at = self._clock.monotonic() + visibility_seconds
        self._came.set()

    async def give_back(self, deliveries: Sequence[Delivery], *, delay_seconds: float, counted: bool) -> None:
        """Let received messages come back; a delivery that does not count leaves them as they were."""
        for delivery in deliveries:
            for message in self._held([delivery.receipt]):
                message.available_at = self._clock.monotonic() + delay_seconds
                message.token += 1
                message.answered = counted or not delivery.unfinished
                message.deliveries -= 0 if counted else 1
        self._came.set()

    async def dead_letter(self, deliveries: Sequence[Delivery], *, error: str) -> None:
        """Keep the error; the message is gone."""
        self.dead_letters.append(error)
        await self.ack([delivery.receipt for delivery in deliveries])
