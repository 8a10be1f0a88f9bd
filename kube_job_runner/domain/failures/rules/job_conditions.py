"""Rows for Jobs that Kubernetes failed: the reason in the condition `Failed`. They count where the pod says nothing."""

from __future__ import annotations

import functools

from kube_job_runner.domain.failures.rule import Rule, row

_job = functools.partial(row, where="job.condition")

RULES: tuple[Rule, ...] = (
    _job(
        "job-deadline",
        reasons=("DeadlineExceeded",),
        category="deadline_exceeded",
        verdict="application",
        explanation=(
            "The cluster job was active for longer than its deadline ({message}). "
            "Raise the run timeout, or let the job do less."
        ),
        source="batch/v1 types.go",
    ),
    _job(
        "job-policy-disruption",
        r"has condition DisruptionTarget",
        reasons=("PodFailurePolicy",),
        category="disrupted",
        verdict="retry_free",
        explanation=(
            "The pod was moved off its node, and the pod failure policy of the job ended it: {message}. "
            "A new attempt is free."
        ),
        source="job controller pod_failure_policy.go",
    ),
    _job(
        "job-policy-signal",
        r"exit code (129|1[3-8]\d|19[0-2])\b",
        reasons=("PodFailurePolicy",),
        category="killed_by_signal",
        verdict="application",
        explanation=(
            "A signal killed a container, and the pod failure policy of the job ended it: {message}. "
            "Read the last lines of its log."
        ),
        source="job controller pod_failure_policy.go",
    ),
    _job(
        "job-policy",
        reasons=("PodFailurePolicy",),
        category="application_exit",
        verdict="fail_now",
        explanation="The pod failure policy of the job forbids another try: {message}.",
        source="job controller pod_failure_policy.go",
    ),
    _job(
        "job-indexes",
        reasons=("MaxFailedIndexesExceeded", "FailedIndexes"),
        category="application_exit",
        verdict="application",
        explanation="Too many indexes of the job failed: {message}. The logs of their pods say why.",
        source="batch/v1 types.go, indexed Jobs",
    ),
    _job(
        "job-backoff",
        reasons=("BackoffLimitExceeded",),
        category="unknown",
        verdict="application",
        explanation="The pod of the job failed, and nothing more is known about it ({message}).",
        source="batch/v1 types.go: says nothing about the cause",
    ),
)
