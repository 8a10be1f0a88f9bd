"""What is kept of an attempt beside its rows: the conditions of its node and the last lines of its containers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol
from uuid import UUID

from kube_job_runner.domain.facts import Condition


class EvidenceReader(Protocol):
    """What an explanation shows beside the rows. It is best effort: what is not there is empty, not an error."""

    async def node_conditions(self, job_id: UUID, attempt: int) -> Sequence[Condition]:
        """Return the conditions that the attempt's node had when the attempt ended (`status.conditions[]` of a Node)."""
        ...

    async def last_lines(self, job_id: UUID, attempt: int, container: str, limit: int) -> Sequence[str]:
        """Return the last lines that a container of the attempt wrote, at most `limit`, oldest first.

        Raises:
            TemporaryError: the store of the logs does not answer.
        """
        ...
