"""Rows for Jobs that Kubernetes failed: the reason in the condition `Failed`. They count where the pod says nothing."""

import functools

from kube_job_runner.domain.failures.rule import Rule, application, fail_now, retry_free
from kube_job_runner.domain.failures.rules.rule_rows import by_reason, row

_reason = functools.partial(by_reason, where="job.condition")
_policy = functools.partial(row, where="job.condition", reasons="PodFailurePolicy")

RULES: tuple[Rule, ...] = (
    _reason(
        "job-deadline",
        "DeadlineExceeded",
        application("deadline_exceeded"),
        "The cluster job was active for longer than its deadline ({message}). Raise the run timeout, or let the job do less.",
        "batch/v1 types.go",
    ),
    _policy(
        "job-policy-disruption",
        r"has condition DisruptionTarget",
        retry_free("disrupted"),
        "The pod was moved off its node, and the pod failure policy of the job ended it: {message}. A new attempt is free.",
        "job controller pod_failure_policy.go",
    ),
    _policy(
        "job-policy-signal",
        r"exit code (129|1[3-8]\d|19[0-2])\b",
        application("killed_by_signal"),
        "A signal killed a container, and the pod failure policy of the job ended it: {message}. Read the last lines of its log.",
        "job controller pod_failure_policy.go",
    ),
    _reason(
        "job-policy",
        "PodFailurePolicy",
        fail_now("application_exit"),
        "The pod failure policy of the job forbids another try: {message}.",
        "job controller pod_failure_policy.go",
    ),
    _reason(
        "job-indexes",
        "MaxFailedIndexesExceeded FailedIndexes",
        application("application_exit"),
        "Too many indexes of the job failed: {message}. The logs of their pods say why.",
        "batch/v1 types.go, indexed Jobs",
    ),
    _reason(
        "job-backoff",
        "BackoffLimitExceeded",
        application("unknown"),
        "The pod of the job failed, and nothing more is known about it ({message}).",
        "batch/v1 types.go: says nothing about the cause",
    ),
)
