"""Simulates a retry policy: what it would have decided about recorded attempts, or about invented failures."""

from collections import Counter
from collections.abc import Sequence
from uuid import UUID

import msgspec

from kube_job_runner.domain import failures
from kube_job_runner.domain.decide import retries
from kube_job_runner.domain.decide.retries import Step
from kube_job_runner.domain.errors import NotFound
from kube_job_runner.domain.failures import categories, ends
from kube_job_runner.domain.job import Cause, Verdict
from kube_job_runner.domain.spec.model import JobSpec, Retry
from kube_job_runner.domain.states import State
from kube_job_runner.ports import JobReader

_NOBODY = UUID(int=0)  # only the jitter depends on it
_decode = msgspec.json.Decoder(JobSpec).decode


class Simulated(msgspec.Struct, frozen=True, kw_only=True):
    """What a policy decides about a series of attempts. `job_id` and `state` belong to a recorded job."""

    steps: Sequence[Step]
    job_id: UUID | None = None
    state: State | None = None


class Simulator:
    def __init__(self, reader: JobReader) -> None:
        self._reader = reader

    async def of_job(self, job_id: UUID, policy: Retry) -> Simulated:
        """Return what the policy would have decided after each attempt of a job that has a verdict.

        Raises:
            NotFound: there is no such job.
        """
        job, encoded = await self._reader.get_job(job_id), await self._reader.get_spec(job_id)
        if job is None or encoded is None:
            raise NotFound(f"there is no job {job_id}")
        attempts = await self._reader.list_attempts(job_id)
        verdicts = [
            attempt.verdict for attempt in attempts if attempt.verdict is not None and attempt.number <= job.attempt
        ]
        memory = _decode(encoded).resources.memory or ""
        steps = retries.simulate(verdicts, policy=policy, job_id=job_id, memory=memory)
        return Simulated(steps=steps, job_id=job_id, state=job.state)


def of_verdicts(verdicts: Sequence[Verdict], policy: Retry, *, memory: str = "") -> Simulated:
    """Return what the policy would decide after each of these failures in a row."""
    return Simulated(steps=retries.simulate(verdicts, policy=policy, job_id=_NOBODY, memory=memory))


def cause_of(reason: str) -> Cause | None:
    """Return whose fault a reason (or a category: `out_of_memory`) usually is; None when it is not known.

    A built-in end names its cause. Otherwise most rows of the failure table decide; in a tie, the infrastructure.
    """
    category = categories.find(reason)
    if category is None:
        return None
    end = ends.BY_CATEGORY.get(category.name)
    if end is not None and end.cause:
        return end.cause
    causes = Counter(rule.cause for rule in failures.RULES if rule.category == category.name and rule.verdict != "wait")
    return max(causes, key=lambda cause: (causes[cause], cause == "infrastructure"), default=None)
