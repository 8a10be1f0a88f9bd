"""Refusals: what it means when the API server refuses a request, or does not answer it.

One row per meaning. The failure table names one on the rows where the text decides. Where the HTTP status code or the lack of
an answer decides, the adapter of Kubernetes picks the row.
"""

import msgspec

from kube_job_runner.domain.failures import codes


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """One meaning of a refusal; its category gives the reason code.

    After a `permanent` refusal, nothing is retried. After any other, the request is retried after `retry_seconds` or later.
    `statuses` are the HTTP status codes with which a text has this meaning; empty for all.
    """

    category: str
    permanent: bool = False
    retry_seconds: float = 1.0
    statuses: frozenset[int] = frozenset()

    @property
    def reason(self) -> str:
        """The stable public reason code."""
        return codes.reason_code(self.category)

    def holds_for(self, status: int) -> bool:
        """Return whether a text has this meaning in an answer with this HTTP status code."""
        return not self.statuses or status in self.statuses


ADMISSION_DENIED = Refusal(category="admission_denied", permanent=True)
SPEC_REJECTED = Refusal(category="spec_rejected", permanent=True)
NAME_TAKEN = Refusal(category="name_taken", permanent=True)
# The API server accepted it, but something changed our labels on the way.
LABELS_CHANGED = Refusal(category="labels_changed", permanent=True)
NAMESPACE_NOT_FOUND = Refusal(category="namespace_not_found", permanent=True)
# With any other status code, such a text comes neither from the authorizer nor from an admission plugin.
NAMESPACE_TERMINATING = Refusal(category="namespace_terminating", permanent=True, statuses=frozenset({403}))
FORBIDDEN = Refusal(category="forbidden", permanent=True, statuses=frozenset({403}))

# The quota plugin answers 403 when a quota is full, 409 and 500 when it cannot count in time.
QUOTA_EXCEEDED = Refusal(category="quota_exceeded", retry_seconds=10.0, statuses=frozenset({403, 409, 500}))
QUOTA_BUSY = Refusal(category="quota_exceeded", retry_seconds=10.0, statuses=frozenset({403, 409, 500}))
UNAUTHORIZED = Refusal(category="unauthorized", retry_seconds=10.0)
CONFLICT = Refusal(category="conflict")
CLUSTER_BUSY = Refusal(category="cluster_busy")
CLUSTER_UNAVAILABLE = Refusal(category="cluster_unavailable", retry_seconds=2.0)
SILENT = Refusal(category="silent")
CREDENTIALS_UNAVAILABLE = Refusal(category="credentials_unavailable", retry_seconds=5.0)
UNEXPECTED_ANSWER = Refusal(category="unexpected_answer", retry_seconds=30.0)

REFUSALS = (
    ADMISSION_DENIED, SPEC_REJECTED, NAME_TAKEN, NAMESPACE_NOT_FOUND, NAMESPACE_TERMINATING, FORBIDDEN,
    QUOTA_EXCEEDED, QUOTA_BUSY, UNAUTHORIZED, CONFLICT, CLUSTER_BUSY, CLUSTER_UNAVAILABLE, SILENT,
    CREDENTIALS_UNAVAILABLE, UNEXPECTED_ANSWER, LABELS_CHANGED,
)  # fmt: skip
OUTAGES = frozenset({CLUSTER_BUSY.reason, CLUSTER_UNAVAILABLE.reason})
"""Reasons of an API server that accepts no request now, of any kind."""
