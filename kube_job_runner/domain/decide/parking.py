"""Parked namespaces: the cluster refuses every new Job there for now, so the jobs for them wait without a slot.

A refusal parks the namespace. Then one job at a time is admitted as a probe, after delays that grow. A probe that is created lets
two follow at once, then four, until the namespace is open again. So room is used within moments, and a namespace that stays full
costs one request now and then.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Literal

import msgspec

from kube_job_runner.domain import backoff
from kube_job_runner.domain.failures import refusals

WAITING = "Waiting to be created"
"""How the explanation of a job begins that the cluster refused for now."""
FIRST_SECONDS = 1.0
MAX_SECONDS = 30.0
OPEN_AT = 64
"""So many creates at once show that the namespace has room."""

PODS_REFUSED = "PodsRefused"
"""The namespace takes Jobs, but its quota refuses their pods. It is open again when none of its Jobs waits for a pod."""
PODS_SECONDS = 300.0
"""When to try a further job all the same. The Jobs that wait find the room first, and nobody knows what a smaller one needs."""

REASONS = frozenset({refusals.QUOTA_EXCEEDED.reason, refusals.FORBIDDEN.reason})
"""Refusals that hold for the other jobs of the namespace too, and that prove that nothing was created."""


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """What a create says about its namespace. `probe` says that it was admitted to find out.

    `unknown`: the cluster gave no answer about the namespace. `mixed`: some were created, then one was refused.
    """

    namespace: str
    outcome: Literal["created", "refused", "mixed", "unknown"]
    probe: bool = False
    reason: str = ""
    explanation: str = ""


class Parking(msgspec.Struct, frozen=True, kw_only=True):
    """A parked namespace. At `probe_at`, up to `allowance` of its jobs are admitted; `tries` counts refused probes in a row."""

    namespace: str
    reason: str
    explanation: str
    since: datetime
    probe_at: datetime
    tries: int = 0
    allowance: int = 1


def joined(trials: Iterable[Trial]) -> list[Trial]:
    """Return one trial per namespace, in the order of their names."""
    by_name: dict[str, Trial] = {}
    for trial in trials:
        known = by_name.get(trial.namespace)
        by_name[trial.namespace] = trial if known is None else _both(known, trial)
    return [by_name[name] for name in sorted(by_name)]


def _both(one: Trial, other: Trial) -> Trial:
    words = other if other.explanation else one
    outcomes = {one.outcome, other.outcome} - {"unknown"}
    outcome = "unknown" if not outcomes else "mixed" if len(outcomes) > 1 else outcomes.pop()
    return msgspec.structs.replace(words, outcome=outcome, probe=one.probe or other.probe)


def after(known: Parking | None, trial: Trial, now: datetime) -> Parking | None:
    """Return how a namespace is parked after a trial; None when it is open."""
    if trial.reason == PODS_REFUSED and (known is None or known.reason == PODS_REFUSED):
        return _without_pods(known, trial, now)
    if trial.reason == PODS_REFUSED:
        return known
    if trial.outcome in ("refused", "mixed"):
        return _refused(known, trial, now)
    if known is None or not trial.probe:
        return known
    if trial.outcome == "unknown":
        return msgspec.structs.replace(known, probe_at=now + timedelta(seconds=FIRST_SECONDS))
    if known.reason == PODS_REFUSED:
        return msgspec.structs.replace(known, probe_at=now + timedelta(seconds=PODS_SECONDS))
    if known.allowance >= OPEN_AT:
        return None
    return msgspec.structs.replace(known, tries=0, allowance=known.allowance * 2, probe_at=now)


def _without_pods(known: Parking | None, trial: Trial, now: datetime) -> Parking:
    return Parking(
        namespace=trial.namespace,
        reason=PODS_REFUSED,
        explanation=trial.explanation,
        since=known.since if known is not None else now,
        probe_at=now + timedelta(seconds=PODS_SECONDS),
    )


def _refused(known: Parking | None, trial: Trial, now: datetime) -> Parking:
    first = Parking(
        namespace=trial.namespace,
        reason=trial.reason,
        explanation=trial.explanation,
        since=known.since if known is not None else now,
        probe_at=now + timedelta(seconds=FIRST_SECONDS),
        tries=1,
    )
    if known is None or known.reason == PODS_REFUSED or trial.outcome == "mixed":
        return first
    if not trial.probe:
        # It was admitted before the namespace was parked.
        return msgspec.structs.replace(first, tries=known.tries, probe_at=max(known.probe_at, first.probe_at))
    tries = known.tries + 1
    delay_seconds = backoff.delay_seconds(tries, first_seconds=FIRST_SECONDS, max_seconds=MAX_SECONDS)
    return msgspec.structs.replace(first, tries=tries, probe_at=now + timedelta(seconds=delay_seconds))


def words(namespace: str, reason: str, explanation: str) -> str:
    """Return why the jobs of a parked namespace wait, and what to do."""
    return f"namespace {namespace} takes no jobs now: {explanation.rstrip('.')}. {advice(namespace, reason)}"


def advice(namespace: str, reason: str) -> str:
    """Return who can end the wait for a namespace, and how."""
    if reason == refusals.FORBIDDEN.reason:
        return f"Whoever operates this installation must grant it the right to create Jobs in namespace {namespace}."
    return f"It is created when other jobs of namespace {namespace} have ended, or when its administrator raises the quota."
