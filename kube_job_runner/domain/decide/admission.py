"""Where a waiting job stands, in numbers and in words: the jobs ahead of it, and the limit that keeps it waiting."""

import msgspec

POSITION_MAX = 10_000
"""Jobs ahead are counted up to this number. A person needs no more, and an index counts so many in milliseconds."""


class QueueStanding(msgspec.Struct, frozen=True, kw_only=True):
    """Where a waiting job stands: how many are `ahead` of it in its queue, and how much of the limits is taken.

    `queue_without_room` jobs of the queue wait for room in the cluster, so the last `kept` slots are not for this queue.

    `ahead` is counted up to `POSITION_MAX`; a higher count is given as this number. `parked` is why its namespace takes no jobs
    now, and what to do, as one or more sentences; empty while it takes jobs.
    """

    queue: str
    ahead: int
    queue_in_flight: int
    queue_limit: int | None
    total_in_flight: int
    total_limit: int
    parked: str = ""
    queue_without_room: int = 0
    kept: int = 0

    @property
    def position(self) -> int:
        """The job's place in its queue: 1 is the next one."""
        return self.ahead + 1

    @property
    def position_is_exact(self) -> bool:
        """Whether `position` is exact. If not, the job's place is `position` or later."""
        return self.ahead < POSITION_MAX


def words(standing: QueueStanding) -> str:
    """Return one sentence about why a job waits: its place, and the limit that keeps it there."""
    return f"Waiting: {place(standing).rstrip('.')}."


def place(standing: QueueStanding) -> str:
    """Return where a job waits, and the limit that keeps it there, as a part of a sentence."""
    return f"{_place(standing)}; {_cause(standing)}"


def _place(standing: QueueStanding) -> str:
    if not standing.position_is_exact:
        return f"at least {POSITION_MAX:,} jobs are ahead in queue {standing.queue}"
    if standing.ahead == 0:
        return f"next in queue {standing.queue}"
    return f"{_ordinal(standing.position)} in queue {standing.queue}"


def _cause(standing: QueueStanding) -> str:
    limit = standing.queue_limit
    if limit == 0:
        return "the queue is held, its limit is 0"
    if standing.parked:
        return standing.parked
    if limit is not None and standing.queue_in_flight >= limit:
        return f"the queue runs {standing.queue_in_flight:,} of {limit:,}"
    if standing.total_in_flight >= standing.total_limit:
        return f"the installation runs {standing.total_in_flight:,} of {standing.total_limit:,}"
    if standing.queue_without_room and standing.total_in_flight >= standing.total_limit - standing.kept:
        return (
            f"jobs of the queue find no room in the cluster ({standing.queue_without_room:,} now), so the last slots"
            f" ({standing.kept:,}) are kept for other queues"
        )
    return "there is room, no processor has taken it yet"


def _ordinal(number: int) -> str:
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number:,}{ending}"
