"""What is known of the watches, read at most every few seconds, whatever the number of batches and jobs."""

from kube_job_runner import ports
from kube_job_runner.domain import freshness
from kube_job_runner.domain.freshness import Freshness

FRESH_SECONDS = 2.0


class WatchCache:
    """The freshness of all watches. Without a reader, no watch counts as ever away."""

    def __init__(self, reader: ports.WatchReader | None, clock: ports.Clock) -> None:
        self._reader = reader
        self._clock = clock
        self._known = freshness.ALWAYS
        self._until = clock.monotonic()

    async def current(self) -> Freshness:
        """Return what is known of the watches, at most `FRESH_SECONDS` old.

        Raises:
            TemporaryError: the store does not answer.
        """
        now = self._clock.monotonic()
        if self._reader is not None and now >= self._until:
            self._until = now + FRESH_SECONDS
            try:
                self._known = await self._reader.watches()
            except BaseException:
                self._until = now
                raise
        return self._known
