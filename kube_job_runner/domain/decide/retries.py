"""Decides whether another attempt follows, when, how it is made, and which budget pays.

The jitter comes from the job's id.
"""

import hashlib
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Literal
from uuid import UUID

import msgspec

from kube_job_runner.domain import backoff, failures, names
from kube_job_runner.domain.failures import codes
from kube_job_runner.domain.job import Attempt, Job, Verdict
from kube_job_runner.domain.spec import quantity
from kube_job_runner.domain.spec.model import Retry, RetryRule
from kube_job_runner.domain.states import State

_NODES_AVOIDED = 8
JITTER = 0.1  # of the delay, up or down, so that jobs that failed together are not retried together

Budget = Literal["", "attempts", "infrastructure"]


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What follows a failed attempt: another one after `delay_seconds`, or none; `why` is for people.

    `budget` is what the failure was charged to, `rule` the index of the retry rule that decided, and `memory` is
    that of the next attempt (empty: unchanged).
    """

    retry: bool
    why: str
    budget: Budget = ""
    delay_seconds: float = 0.0
    rule: int | None = None
    memory: str = ""


def plan(history: Sequence[Verdict], *, policy: Retry, job_id: UUID, memory: str = "") -> Plan:
    """Return what follows the last of `history`, the verdicts of all attempts so far, oldest first.

    `memory` is what the last attempt had, where known. The first rule of the policy that fits decides. Without one, a failure
    of the infrastructure is charged to its own budget, and a failure of the program to the user's attempts.
    """
    verdict = history[-1]
    if verdict.outcome is not State.FAILED:
        how = "was cancelled" if verdict.outcome is State.CANCELLED else f"has {verdict.outcome}"
        return Plan(retry=False, why=f"the job {how}")
    index = next((i for i, rule in enumerate(policy.rules) if fits(rule, verdict)), None)
    rule = None if index is None else policy.rules[index]
    grown = ""
    if rule is not None and rule.action == "fail":
        return Plan(retry=False, why=f"rule {index} says so", rule=index, budget=budget_of(verdict, policy))
    if rule is not None and rule.action == "grow_memory":
        grown = _grown(rule, memory)
        if not grown:
            why = f"rule {index} may not give more memory than the {memory or 'unknown amount'} it had"
            return Plan(retry=False, why=why, rule=index, budget="attempts")
    budget = budget_of(verdict, policy)
    if not budget:
        return Plan(retry=False, why="it would fail again in the same way")
    used = sum(1 for earlier in history if budget_of(earlier, policy) == budget)
    if budget == "attempts" and used >= policy.attempts:
        return Plan(retry=False, why=f"it was attempt {used} of {policy.attempts}", budget=budget, rule=index)
    if budget == "infrastructure" and used > policy.infrastructure_retries:
        allowed = policy.infrastructure_retries
        why = f"the {allowed} free retries after failures of the infrastructure are used up"
        return Plan(retry=False, why=why if allowed else "no free retries are allowed", budget=budget, rule=index)
    delay_seconds = _delay_seconds(policy, used, random_share=_random_share(job_id, len(history)))
    left = (
        f"attempt {used + 1} of {policy.attempts} follows"
        if budget == "attempts"
        else f"free retry {used} of {policy.infrastructure_retries} follows"
    )
    return Plan(retry=True, why=left, budget=budget, delay_seconds=delay_seconds, rule=index, memory=grown)


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """What a policy decides after one recorded attempt, which had `memory` under that policy.

    `reached` is False for an attempt that the policy would not have made.
    """

    attempt: int
    verdict: Verdict
    plan: Plan
    memory: str = ""
    reached: bool = True


def simulate(verdicts: Sequence[Verdict], *, policy: Retry, job_id: UUID, memory: str = "") -> list[Step]:
    """Return what a policy would have decided after each of these attempts, oldest first.

    `memory` is that of the first attempt. Recorded verdicts are taken as they are: an attempt that ran out of memory counts as
    if it had the memory that the policy would have given it.
    """
    steps: list[Step] = []
    reached = True
    for number in range(1, len(verdicts) + 1):
        decided = plan(verdicts[:number], policy=policy, job_id=job_id, memory=memory)
        steps.append(Step(attempt=number, verdict=verdicts[number - 1], plan=decided, memory=memory, reached=reached))
        reached = reached and decided.retry
        memory = decided.memory or memory
    return steps


def budget_of(verdict: Verdict, policy: Retry) -> Budget:
    """Return which budget a failed attempt was charged to."""
    if verdict.outcome is not State.FAILED:
        return ""
    rule = next((rule for rule in policy.rules if fits(rule, verdict)), None)
    if rule is not None and rule.action in ("retry", "grow_memory"):
        return "attempts"
    return {"application": "attempts", "infrastructure": "infrastructure"}.get(verdict.cause, "")  # type: ignore[return-value]


def fits(rule: RetryRule, verdict: Verdict) -> bool:
    """Return whether a rule fits a failure: each list that it gives holds the failure's value."""
    if rule.reasons and codes.key(verdict.reason) not in {codes.key(name) for name in rule.reasons}:
        return False
    if rule.exit_codes and verdict.exit_code not in rule.exit_codes:
        return False
    return not rule.signals or (verdict.signal is not None and failures.signal_name(verdict.signal) in rule.signals)


def _grown(rule: RetryRule, memory: str) -> str:
    """Return the memory of the next attempt, or nothing when there is no more to give."""
    if not memory:
        return ""
    had = quantity.parse(memory)
    wanted = had * Fraction(rule.factor)
    if rule.max_memory is not None:
        wanted = min(wanted, quantity.parse(rule.max_memory))
    return quantity.mebibytes(wanted) if wanted > had else ""


def _delay_seconds(policy: Retry, used: int, *, random_share: float) -> float:
    delay_seconds = backoff.delay_seconds(
        used,
        first_seconds=policy.backoff_seconds,
        max_seconds=policy.max_backoff_seconds,
        factor=policy.backoff_factor,
    )
    return backoff.spread(delay_seconds, (1 - JITTER, 1 + JITTER), random_share=lambda: random_share)


def _random_share(job_id: UUID, attempts: int) -> float:
    digest = hashlib.blake2b(job_id.bytes + attempts.to_bytes(2, "big"), digest_size=4).digest()
    return int.from_bytes(digest, "big") / 0xFFFFFFFF


def after(job: Job, attempts: Mapping[int, Attempt], verdict: Verdict, *, number: int | None = None) -> Plan:
    """Return what follows when an attempt (by default the newest) ends with this verdict."""
    number = job.attempt if number is None else number
    history = [
        attempt.verdict
        for earlier, attempt in sorted(attempts.items())
        if earlier < number and attempt.verdict is not None
    ]
    last = attempts.get(number)
    memory = (last.memory if last is not None else "") or job.policy.memory
    return plan([*history, verdict], policy=job.policy.retry, job_id=job.id, memory=memory)


def new_attempt(job: Job, attempts: Mapping[int, Attempt]) -> Attempt:
    """Return the next attempt of a queued job."""
    number = job.attempt + 1
    last = attempts.get(job.attempt)
    memory = ""
    if last is not None and last.verdict is not None:
        memory = after(job, attempts, last.verdict).memory or last.memory
    return Attempt(
        job_id=job.id,
        number=number,
        namespace=job.namespace,
        cluster_name=names.cluster_job_name(job.name, job.id, number),
        memory=memory,
    )


def nodes_to_avoid(job: Job, attempts: Mapping[int, Attempt]) -> tuple[str, ...]:
    """Return the nodes on which attempts of the job failed because of the infrastructure, the newest last."""
    if not job.policy.retry.avoid_failed_nodes:
        return ()
    failed = [
        attempt.node
        for _, attempt in sorted(attempts.items())
        if attempt.node and attempt.verdict is not None and attempt.verdict.cause == "infrastructure"
    ]
    return tuple(dict.fromkeys(failed))[-_NODES_AVOIDED:]
