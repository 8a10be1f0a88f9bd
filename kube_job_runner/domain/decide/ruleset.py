"""The numbers and the failure table of this installation that decisions use."""

from collections.abc import Mapping

import msgspec

from kube_job_runner.domain import failures
from kube_job_runner.domain.limits import Bounds


class Rules(Bounds, frozen=True, kw_only=True):
    """The installation's numbers that decisions use, all in seconds.

    `create_settle_seconds` is how long an API server may go on with a create after its client has given it up (apiserver,
    endpoints/handlers/rest.go: requestTimeoutUpperBound).
    """

    graces: Mapping[str, float] = msgspec.field(default_factory=lambda: dict(failures.GRACES_SECONDS))
    table: failures.Table = failures.TABLE
    success_evidence_seconds: float = 5.0
    recheck_seconds: float = 60.0
    log_stop_bound_seconds: float = 5.0
    log_recheck_seconds: float = 5.0
    pod_gone_bound_seconds: float = 120.0
    pod_unseen_bound_seconds: float = 5.0
    finishing_bound_seconds: float = 60.0
    create_settle_seconds: float = 34.0
    create_retry_max_seconds: float = 60.0
    create_retry_outage_seconds: float = 10.0

    def grace_seconds(self, rule: failures.Rule) -> float:
        """Return how long the signal of a rule may last: before it is fatal, or before a free attempt (`retry_free`)."""
        return failures.grace_seconds(rule, self.graces)
