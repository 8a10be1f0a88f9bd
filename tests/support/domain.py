"""Builders of domain objects for tests: each with the fewest words that a test needs."""

from __future__ import annotations

import datetime as dt
from typing import Any
from uuid import UUID

import msgspec

from kube_job_runner.domain import freshness, names
from kube_job_runner.domain.decide import lifecycle, observation
from kube_job_runner.domain.decide.decision import Decision
from kube_job_runner.domain.decide.ruleset import Rules
from kube_job_runner.domain.facts import AttemptFacts, Condition, ContainerFacts, JobFacts, PodFacts, Seen
from kube_job_runner.domain.freshness import Freshness
from kube_job_runner.domain.job import Attempt, CancelRequest, Job, Policy
from kube_job_runner.domain.spec.model import Retry, Timeouts
from kube_job_runner.domain.states import State

T0 = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
RULES = Rules()
JOB_ID = UUID("0190b5b0-0000-7000-8000-000000000001")
CLUSTER_UID = "cluster-uid-1"


def after(seconds: float) -> dt.datetime:
    """Return T0 and that many seconds."""
    return T0 + dt.timedelta(seconds=seconds)


def make_job(
    state: State = State.QUEUED,
    *,
    attempt: int | None = None,
    retry: Retry | None = None,
    timeouts: Timeouts | None = None,
    cancelled: bool = False,
    **columns: Any,
) -> Job:
    """Return a job that is admitted; by default one of attempt 1 when its state means that there is one."""
    number = attempt if attempt is not None else (0 if state is State.QUEUED else 1)
    policy = Policy(timeouts=timeouts or Timeouts(), retry=retry or Retry())
    cancel = CancelRequest(at=T0, by="ann", reason="enough") if cancelled else None
    defaults: dict[str, Any] = {
        "id": JOB_ID,
        "name": "etl",
        "created_at": T0,
        "due_at": T0,
        "admitted_at": T0,
        "version": 7,
    }
    return Job(**(defaults | columns), state=state, attempt=number, policy=policy, cancel=cancel)


def make_attempt(number: int = 1, *, facts: AttemptFacts | None = None, **columns: Any) -> Attempt:
    """Return an attempt whose cluster job exists, and whose log needs not be waited for."""
    defaults: dict[str, Any] = {"cluster_uid": f"cluster-uid-{number}", "created_at": T0, "logs": "stored"}
    return Attempt(
        job_id=JOB_ID,
        number=number,
        namespace="default",
        cluster_name=names.cluster_job_name("etl", JOB_ID, number),
        facts=facts or AttemptFacts(job=job_facts(uid=f"cluster-uid-{number}")),
        **({"logs": "stored"} | defaults | columns),
    )


def job_facts(*conditions: str, uid: str = CLUSTER_UID, rv: int = 10, reason: str = "", **fields: Any) -> JobFacts:
    """Return facts of a Job with these conditions true."""
    made = tuple(Condition(type=type_, reason=reason or type_, message=f"{type_} message") for type_ in conditions)
    return JobFacts(uid=uid, resource_version=rv, created_at=T0, conditions=made, **fields)


def waiting(reason: str, message: str = "") -> ContainerFacts:
    """Return a main container that waits."""
    return ContainerFacts(name="main", state="waiting", reason=reason, message=message)


def running(seconds: float = 1) -> ContainerFacts:
    """Return a main container that runs."""
    return ContainerFacts(name="main", state="running", started_at=after(seconds))


def ended(exit_code: int, reason: str = "", message: str = "", *, start: float = 1, end: float = 2) -> ContainerFacts:
    """Return a main container that ended."""
    return ContainerFacts(
        name="main",
        state="terminated",
        reason=reason or ("Completed" if exit_code == 0 else "Error"),
        message=message,
        exit_code=exit_code,
        started_at=after(start),
        finished_at=after(end),
    )


def pod_facts(
    container: ContainerFacts | None = None, *, phase: str = "Pending", rv: int = 11, uid: str = "pod-1", **fields: Any
) -> PodFacts:
    """Return facts of the pod of attempt 1."""
    defaults: dict[str, Any] = {"name": "etl-pod", "job_uid": CLUSTER_UID, "created_at": T0, "node": "node-1"}
    return PodFacts(
        uid=uid,
        resource_version=rv,
        phase=phase,
        containers=(container,) if container else (),
        **(defaults | fields),
    )


def decide(
    job: Job,
    *attempts: Attempt,
    now: dt.datetime = T0,
    rules: Rules = RULES,
    known_absent: bool = False,
    looked: bool = True,
    watched: Freshness = freshness.ALWAYS,
) -> Decision:
    """Return the decision about a job with these attempts, whose facts were just read from the cluster."""
    by_number = {attempt.number: attempt for attempt in attempts}
    return lifecycle.decide(
        job, by_number, now=now, rules=rules, known_absent=known_absent, looked=looked, watched=watched
    )


def with_facts(attempt: Attempt, *seen: Seen) -> Attempt:
    """Return the attempt after these observations."""
    for facts in seen:
        attempt = observation.observe(attempt, facts)
    return attempt


def apply(decision: Decision, attempts: dict[int, Attempt]) -> tuple[Job, dict[int, Attempt]]:
    """Return the rows after a decision, as the store would hold them."""
    merged = dict(attempts)
    merged.update({attempt.number: attempt for attempt in decision.attempts})
    return msgspec.structs.replace(decision.job), merged
