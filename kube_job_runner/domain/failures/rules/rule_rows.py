"""Functions that make rows of the failure table, by text or by reason; and sentences that several rows share.

A row gives its name, the signal, the ruling (such as `wait("quota_exceeded")`), the explanation and the source, in this order.
The signal is a pattern (`row`) or Kubernetes reasons (`by_reason`). A module fixes with `functools.partial` what its rows share.
"""

import re
from collections.abc import Iterable

from kube_job_runner.domain.failures.refusals import Refusal
from kube_job_runner.domain.failures.rule import Rule, Ruling, Where

NODE_FAULT = " This is the node's fault. A new attempt is free."
NOT_THE_JOB = " This is not the job's fault. A new attempt is free."


def row(
    name: str,
    pattern: str,
    ruling: Ruling,
    explanation: str,
    source: str,
    *,
    where: Where,
    reasons: str = "",
    exit_codes: Iterable[int] = (),
    without_names: bool = False,
    refusal: Refusal | None = None,
) -> Rule:
    """Return a rule. The pattern is searched anywhere in a message, in any case and across lines.

    Several `reasons` are separated by spaces.
    """
    return Rule(
        name=name,
        where=where,
        reasons=frozenset(reasons.split()),
        pattern=re.compile(pattern, re.IGNORECASE | re.DOTALL) if pattern else None,
        exit_codes=frozenset(exit_codes),
        without_names=without_names,
        category=ruling.category,
        verdict=ruling.verdict,
        grace=ruling.grace,
        explanation=explanation,
        source=source,
        refusal=refusal,
    )


def by_reason(name: str, reasons: str, ruling: Ruling, explanation: str, source: str, *, where: Where) -> Rule:
    """Return a rule that needs no text: one of `reasons`, separated by spaces, decides."""
    return row(name, "", ruling, explanation, source, where=where, reasons=reasons)
