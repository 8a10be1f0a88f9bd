"""Carries out the effect that a decision asks for, and decides again with its outcome.

Every effect is safe to repeat. A create may come before its commit, because repeating it adopts what the first one made.
"""

import asyncio
import hashlib
from collections.abc import Mapping
from datetime import datetime

import msgspec

from kube_job_runner import ports
from kube_job_runner.domain import freshness
from kube_job_runner.domain.decide import create_lease, creation, lifecycle, looking, parking, removal
from kube_job_runner.domain.decide.decision import Create, Decision, Effect, Look
from kube_job_runner.domain.decide.parking import Trial
from kube_job_runner.domain.decide.ruleset import Rules
from kube_job_runner.domain.errors import ClusterRefused, KjrError, NameTaken, NotSent, QuotaBusy, TemporaryError
from kube_job_runner.domain.facts import JobFacts
from kube_job_runner.domain.failures import ends, refusals
from kube_job_runner.domain.freshness import Freshness
from kube_job_runner.domain.job import Attempt, Job
from kube_job_runner.domain.record import trace
from kube_job_runner.domain.sight import Sight
from kube_job_runner.domain.states import State
from kube_job_runner.ports import send_lease
from kube_job_runner.services.cluster_identity import IdentityCheck
from kube_job_runner.services.pipeline import job_metrics
from kube_job_runner.services.pipeline.turns import Turn, within
from kube_job_runner.telemetry import loggers

log = loggers.get_logger(__name__)

_FORBIDDEN_SECONDS = 10.0
LOOKS_AT_ONCE = 16
LOOK_SECONDS = 15.0
"""How long a look may take, with its wait for a free place. Then it counts as not answered, and the batch goes on."""


class Made(msgspec.Struct, frozen=True):
    attempt: Attempt
    facts: JobFacts


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What is decided after an effect.

    `made` is the cluster job that exists because of it, if there is one. `refused` says that its namespace takes no Jobs now.
    """

    decision: Decision
    made: Made | None = None
    refused: Trial | None = None


class Effects:
    def __init__(
        self, *, cluster: ports.ClusterWriter, identity: IdentityCheck, rules: Rules, tracing: bool = False
    ) -> None:
        self._cluster = cluster
        self._identity = identity
        self._rules = rules
        self._tracing = tracing
        self._looks = asyncio.Semaphore(LOOKS_AT_ONCE)

    async def act(
        self,
        effect: Effect,
        loaded: ports.LoadedJob,
        attempts: Mapping[int, Attempt],
        *,
        now: datetime,
        turn: Turn | None,
        watched: Freshness = freshness.ALWAYS,
    ) -> Outcome:
        """Carry out an effect and return what follows from its outcome. A create needs a turn.

        Raises:
            TemporaryError: the cluster did not answer a question that has to be answered first.
            WrongCluster: the cluster is not the one that the database belongs to.
        """
        if isinstance(effect, Create):
            if turn is None:
                raise RuntimeError(f"job {loaded.job.id} would be created without a turn")
            return await self._create(effect, loaded, attempts, now=now, turn=turn)
        if isinstance(effect, Look):
            return Outcome(decision=await self._look(effect, loaded.job, attempts, now=now, watched=watched))
        attempt = effect.attempt
        await self._identity.check()
        facts = await job_metrics.counted(
            "find", self._identity.watched(self._cluster.find(attempt.namespace, attempt.cluster_name))
        )
        return self._found(attempt, facts, loaded.job, attempts, now=now)

    def _found(
        self, attempt: Attempt, facts: JobFacts | None, job: Job, attempts: Mapping[int, Attempt], *, now: datetime
    ) -> Outcome:
        if facts is None:
            absent = lifecycle.decide(job, attempts, now=now, rules=self._rules, known_absent=True)
            return Outcome(decision=absent)
        if job.state is not State.QUEUED:
            return Outcome(decision=creation.reappeared(job, attempts, attempt, facts, now=now, rules=self._rules))
        # The create that was on its way has arrived.
        return self._made(Made(attempt, facts), create_lease.given_back(job, earlier=None), attempts, now=now)

    async def _look(
        self, effect: Look, job: Job, attempts: Mapping[int, Attempt], *, now: datetime, watched: Freshness
    ) -> Decision:
        """Read the attempt's objects, and decide with what they are now; without an answer nothing is decided.

        Raises:
            TemporaryError: no answer, and the messages are needed again.
        """
        attempt, uid = effect.attempt, effect.attempt.cluster_uid or ""
        error: TemporaryError | None = None
        try:
            async with asyncio.timeout(LOOK_SECONDS), self._looks:
                await self._identity.check()
                looking_now = self._cluster.look(attempt.namespace, attempt.cluster_name, cluster_uid=uid)
                sight = await job_metrics.counted("look", self._identity.watched(looking_now))
        except TimeoutError:
            error = TemporaryError(f"no answer within {LOOK_SECONDS:g} s")
        except TemporaryError as temporary:
            error, sight = temporary, Sight(pods=None)
        if error is None or removal.stays_gone(attempt, error.reason):
            return looking.looked(job, attempts, attempt, sight, now=now, rules=self._rules, watched=watched)
        log.warning(
            "the cluster did not answer a look; nothing is decided",
            action="job.look",
            job_id=str(job.id),
            attempt=attempt.number,
            error=str(error),
        )
        if effect.told_once:
            raise error
        return looking.unanswered(
            job, attempts, effect, why=str(error), delay_seconds=error.delay_seconds, now=now, rules=self._rules
        )

    async def _create(
        self,
        effect: Create,
        loaded: ports.LoadedJob,
        attempts: Mapping[int, Attempt],
        *,
        now: datetime,
        turn: Turn,
    ) -> Outcome:
        job, attempt = loaded.job, effect.attempt
        if loaded.spec is None:
            raise RuntimeError(f"job {job.id} is queued and was loaded without its spec")
        request = ports.ClusterJob(
            job_id=job.id,
            attempt=attempt.number,
            namespace=attempt.namespace,
            cluster_name=attempt.cluster_name,
            queue=job.queue,
            spec=loaded.spec,
            spec_hash=spec_hash(loaded.spec),
            avoid_nodes=effect.avoid_nodes,
            memory=attempt.memory or None,
            traceparent=self._traceparent(job, attempt.number),
        )
        try:
            await self._identity.check()
            facts = await self._send(request, turn)
        except (TemporaryError, ClusterRefused, NameTaken) as error:
            turn.settled = turn.settled or _parks(error)
            job = turn.row(job)
            if _parks(error):
                return await self._parked(error, job, attempt, attempts, now=now)
            return Outcome(decision=self._not_created(error, job, attempts, now=now))
        return self._made(Made(attempt, facts), turn.row(job), attempts, now=now)

    async def _send(self, request: ports.ClusterJob, turn: Turn) -> JobFacts:
        """Send a create within the lease of its turn, and let the turn learn what is known of it."""
        action = f"creating Job {request.namespace}/{request.cluster_name}"
        with send_lease.sending(turn.lease) as sending:
            try:
                turn.lease.check()
                create = self._identity.watched(self._cluster.create(request))
                creating = within(sending, create, action=action)
                facts = await job_metrics.counted("create", creating)
            except (TemporaryError, ClusterRefused, NameTaken) as error:
                turn.learn(sending, error)
                raise
            turn.learn(sending)
            return facts

    async def _parked(
        self, error: KjrError, job: Job, attempt: Attempt, attempts: Mapping[int, Attempt], *, now: datetime
    ) -> Outcome:
        """Return what follows when the namespace takes no Job now: the job gives its slot back, unless it exists already.

        A quota is checked before the name: an earlier create whose answer was lost may have made the Job that fills the quota.
        """
        namespace, why = attempt.namespace, str(error)
        reason = error.reason if isinstance(error, TemporaryError | ClusterRefused) else ""
        unanswered: TemporaryError | None = None
        facts: JobFacts | None = None
        try:
            facts = await job_metrics.counted("find", self._cluster.find(namespace, attempt.cluster_name))
        except TemporaryError as temporary:
            unanswered = temporary
        if facts is not None:
            return self._made(Made(attempt, facts), create_lease.given_back(job, earlier=None), attempts, now=now)
        absent = unanswered is None
        ended = removal.ended(job, attempts, reason=reason, why=why, known_absent=absent, now=now, rules=self._rules)
        if ended is not None:
            return Outcome(decision=ended)
        if unanswered is not None:
            return Outcome(decision=self._not_created(unanswered, job, attempts, now=now))
        log.warning(
            "a namespace takes no jobs now; its jobs wait without a slot",
            action="namespace.park",
            job_id=str(job.id),
            namespace=namespace,
            reason=reason,
            error=why,
        )
        refused = Trial(namespace=namespace, outcome="refused", reason=reason, explanation=why)
        decision = creation.parked(job, attempts, refused, now=now, rules=self._rules)
        return Outcome(decision=decision, refused=refused)

    def _made(self, made: Made, job: Job, attempts: Mapping[int, Attempt], *, now: datetime) -> Outcome:
        decision = creation.created(job, attempts, made.attempt, made.facts, now=now, rules=self._rules)
        return Outcome(decision=decision, made=made)

    def _traceparent(self, job: Job, attempt: int) -> str | None:
        """Return the parent of the program's spans: the phase `running` if we make spans, else the span of the submit."""
        context = trace.of_container(job, attempt) if self._tracing else trace.of(job)
        return None if context is None else context.header

    def _not_created(
        self,
        error: TemporaryError | ClusterRefused | NameTaken,
        job: Job,
        attempts: Mapping[int, Attempt],
        *,
        now: datetime,
    ) -> Decision:
        """Return what follows when there is no cluster job: the job waits, or it ends.

        A missing right is not the job's fault: the job waits until the operator grants it.
        """
        if isinstance(error, NotSent):
            return creation.not_sent(job, attempts, now=now, rules=self._rules)
        reason = refusals.NAME_TAKEN.reason if isinstance(error, NameTaken) else error.reason
        if isinstance(error, TemporaryError) or reason == refusals.FORBIDDEN.reason:
            delay_seconds = error.delay_seconds if isinstance(error, TemporaryError) else _FORBIDDEN_SECONDS
            log.warning(
                "a cluster job was not created; retrying",
                action="job.create",
                job_id=str(job.id),
                attempt=job.attempt + 1,
                reason=reason,
                error=str(error),
            )
            return creation.postponed(
                job,
                attempts,
                why=str(error),
                delay_seconds=delay_seconds,
                outage=reason in refusals.OUTAGES,
                now=now,
                rules=self._rules,
            )
        return creation.refused(job, attempts, ends.refused(reason, str(error)), now=now, rules=self._rules)


def _parks(error: TemporaryError | ClusterRefused | NameTaken) -> bool:
    """Return whether an error holds for all jobs of the namespace. It is an answer, so the request made nothing."""
    return not isinstance(error, NameTaken | QuotaBusy) and error.reason in parking.REASONS


def spec_hash(spec: msgspec.Struct) -> str:
    """Return 16 hexadecimal digits that identify a spec. An existing cluster job is adopted only if its digits are the same."""
    return hashlib.sha256(msgspec.json.encode(spec)).hexdigest()[:16]
