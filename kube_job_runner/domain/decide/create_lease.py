"""Who may create: the lease on the create of a queued job's next attempt, and when nothing of it can arrive any more.

The row of the job says until when a processor may send the create (`create_until`). It is written before the create is sent,
by the admission or by a commit of its own, and taken back by the commit that knows the outcome. So a processor that dies, or
whose answer is lost, leaves a row that says how long its create must be reckoned with.
"""

from datetime import datetime, timedelta

import msgspec

from kube_job_runner.domain.decide.ruleset import Rules
from kube_job_runner.domain.job import Job


def settled_at(job: Job, rules: Rules) -> datetime | None:
    """Return when a create of unknown outcome has arrived or never will; None: there is none.

    A create that was sent at the end of its lease may be carried out by the API server for some time after it.
    """
    if job.create_until is None:
        return None
    return job.create_until + timedelta(seconds=rules.create_settle_seconds)


def taken(job: Job, *, now: datetime, lease_seconds: float) -> Job:
    """Return the row of a job whose create may be sent by the caller, for `lease_seconds` from `now` on.

    The version grows, so that the commit of an earlier holder does not fit any more. If the caller dies, the job is due.
    """
    until = now + timedelta(seconds=lease_seconds)
    return msgspec.structs.replace(job, create_until=until, next_check_at=until, version=job.version + 1)


def given_back(job: Job, *, earlier: datetime | None) -> Job:
    """Return the row of a job when the outcome of its last create is known. `earlier` is what was unknown before it."""
    return msgspec.structs.replace(job, create_until=earlier)
