"""How long a delete waits for the log of an attempt.

Before a delete the log is stored, or the record says why it is lost (promise I9). The wait is bounded.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from kube_job_runner.domain.decide.ruleset import Rules
from kube_job_runner.domain.job import Attempt

_POD_FAILED = ("BackoffLimitExceeded", "PodFailurePolicy")


def log_expected(attempt: Attempt) -> bool:
    """Return whether an attempt may have a log that can be read: a container of a known pod has run.

    The container of a complete Job has run, even when its pod was last seen before that.
    """
    if attempt.started_at is not None:
        return True
    job = attempt.facts.job
    if attempt.facts.pods and job is not None and job.condition("Complete") is not None:
        return True
    containers = (container for pod in attempt.facts.pods for container in pod.containers)
    return any(container.state == "running" or container.started_at is not None for container in containers)


def pod_unseen(attempt: Attempt) -> bool:
    """Return whether a pod has run that no watch has shown yet. Its log can be read only when its name is known."""
    job = attempt.facts.job
    if job is None or attempt.facts.pods:
        return False
    failed = job.condition("Failed")
    return job.condition("Complete") is not None or (failed is not None and failed.reason in _POD_FAILED)


def awaited_until(attempt: Attempt, now: datetime, rules: Rules, *, stopping: bool) -> datetime | None:
    """Return until when a delete waits for the log of an attempt; None when there is nothing to wait for.

    When a job is being stopped, it is enough that its log is followed: the last lines come while it ends.
    """
    expected = log_expected(attempt) or pod_unseen(attempt)
    if attempt.logs in ("stored", "lost") or not expected or attempt.facts.gone:
        return None
    if stopping and attempt.logs == "following":
        return None
    bound_seconds = rules.log_stop_bound_seconds if stopping else rules.log_deadline_seconds
    return (attempt.decided_at or now) + timedelta(seconds=bound_seconds)


def given_up(attempt: Attempt, rules: Rules, *, stopping: bool) -> str:
    """Return why the log of an attempt is no longer waited for."""
    if pod_unseen(attempt):
        return "its pod was never seen"
    if stopping:
        return f"no log-collector took the log within {rules.log_stop_bound_seconds:g} s before the stop"
    return f"no log-collector stored the log within {rules.log_deadline_seconds:g} s, and the cluster job was removed"
