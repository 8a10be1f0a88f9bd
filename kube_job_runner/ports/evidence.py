"""What is kept of an attempt beside its rows: the last lines of its containers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol
from uuid import UUID


class EvidenceReader(Protocol):
    """What an explanation shows beside the rows. It is best effort: what is not there is empty, not an error."""

    async def last_lines(self, job_id: UUID, attempt: int, container: str, limit: int) -> Sequence[str]:
        """Return the last lines that a container of the attempt wrote, at most `limit`, oldest first.

        Raises:
            TemporaryError: the store of the logs does not answer.
        """
        ...
