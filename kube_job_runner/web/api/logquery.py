"""What a reader may ask of a log, from its query."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from kube_job_runner.domain.logs import view
from kube_job_runner.services.log_reading import LogRequest
from kube_job_runner.web.api import queries
from kube_job_runner.web.kit.queries import wrong_query
from kube_job_runner.web.validation.fault import Fault

_DURATION = re.compile(r"([0-9]{1,9})(ms|s|m|h|d)")
_UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_EARLIEST = datetime(1970, 1, 2, tzinfo=UTC)
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")


def request(query: queries.LogQuery, *, now: datetime) -> LogRequest:
    """Return the request of a query.

    Raises:
        RequestProblem: `since` or `after` cannot be read; it names both.
    """
    faults: list[Fault] = []
    since, after = None, None
    try:
        since = None if query.since is None else parse_since(query.since, now=now)
    except ValueError as error:
        faults.append(Fault("/since", str(error), "query"))
    try:
        after = None if query.after is None else view.parse_place(query.after)
    except ValueError as error:
        faults.append(Fault("/after", str(error), "query"))
    if faults:
        raise wrong_query(faults)
    return LogRequest(
        attempt=query.attempt,
        container=query.container,
        follow=query.follow,
        tail=query.tail,
        since=since,
        grep=(query.grep or "").encode(),
        timestamps=query.timestamps,
        frames=query.frames,
        after=after,
    )


def parse_since(text: str, *, now: datetime) -> datetime:
    """Return the time that a duration before `now`, or an RFC 3339 time, means.

    Raises:
        ValueError: it is neither.
    """
    match = _DURATION.fullmatch(text)
    try:
        if match is not None:
            return max(_EARLIEST, now - timedelta(seconds=int(match[1]) * _UNIT_SECONDS[match[2]]))
        if _RFC3339.fullmatch(text):
            return max(_EARLIEST, datetime.fromisoformat(text.upper()).astimezone(UTC))
    except OverflowError:
        return _EARLIEST
    except ValueError:
        pass
    raise ValueError("must be a duration such as 90s, 10m, 2h or 1d, or a time such as 2026-01-15T09:30:00Z")
