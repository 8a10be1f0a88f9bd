"""`GET /v1/jobs/{id}/logs`: read or follow the log of an attempt."""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated

import msgspec
from msgspec import Meta

from kube_job_runner.domain import durations
from kube_job_runner.domain.logs import view
from kube_job_runner.ports import Clock
from kube_job_runner.services.log_reading import LogRequest, LogService
from kube_job_runner.web.api.job_view import JobPath
from kube_job_runner.web.api.problem_types import DOWN, LOG_NOT_READY, LOG_UNAVAILABLE
from kube_job_runner.web.kit.handling import TEXT, Call, Nothing, Reply
from kube_job_runner.web.kit.operations import Operation
from kube_job_runner.web.kit.queries import NO_NUL, wrong_query
from kube_job_runner.web.validation.fault import Fault

_FRAMES = b"application/vnd.kube-job-runner.log-frames"
_HEADERS = ((b"content-security-policy", b"default-src 'none'; sandbox"), (b"x-accel-buffering", b"no"))
_EARLIEST = datetime(1970, 1, 2, tzinfo=UTC)
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")


class LogQuery(msgspec.Struct, frozen=True):
    """Which log to read."""

    follow: Annotated[bool, Meta(description="Wait for the start, and stream until the attempt has ended.")] = False
    tail: Annotated[int, Meta(ge=0, le=1_000_000, description="Only the last lines, this many.")] | None = None
    since: (
        Annotated[
            str,
            Meta(
                max_length=64,
                description="Only lines from this time on, by the clock of the node: a duration before now (`90s`, `10m`,"
                " `1h30m`, `2d`; a bare number is seconds) or an RFC 3339 time.",
                examples=["10m"],
                extra_json_schema={"anyOf": [{"pattern": durations.PATTERN}, {"format": "date-time"}]},
            ),
        ]
        | None
    ) = None
    grep: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=1024,
                description="Only lines that contain this text. It is not a pattern. `tail` and `since` are applied first.",
                extra_json_schema=NO_NUL,
            ),
        ]
        | None
    ) = None
    container: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=63,
            description="The name of the container; that of the job is `main`.",
            extra_json_schema=NO_NUL,
        ),
    ] = "main"
    timestamps: Annotated[bool, Meta(description="Begin each line with its time, in UTC with nanoseconds.")] = False
    frames: Annotated[
        bool,
        Meta(
            description="For programs: each piece begins with a line `PLACE LENGTH`, and has LENGTH bytes. After a lost"
            " connection a reader continues with `after=PLACE`, and neither misses nor repeats a line."
        ),
    ] = False
    after: (
        Annotated[
            str,
            Meta(
                max_length=32,
                description="Continue after the place of a frame; `tail` has no effect then.",
                extra_json_schema={"pattern": view.PLACE_PATTERN},
            ),
        ]
        | None
    ) = None
    attempt: (
        Annotated[int, Meta(ge=1, le=9999, description="The number of the attempt; without it, the newest.")] | None
    ) = None


def operation(logs: LogService, clock: Clock) -> Operation:
    async def get_log(call: Call[JobPath, LogQuery, Nothing]) -> Reply[Nothing]:
        """Stream the log of an attempt."""
        query = call.query
        chunks = await logs.open(call.path.id, log_request(query, now=clock.now()))
        return Reply(chunks=chunks, media_type=_FRAMES if query.frames else TEXT, headers=_HEADERS)

    return Operation(
        "GET",
        "/v1/jobs/{id}/logs",
        "getJobLogs",
        "Read or follow the log of an attempt",
        get_log,
        description="The raw output of a container. It can be read as long as the job is kept. With `follow=true` the answer"
        " begins at once, waits for the start, and ends with the attempt; it is empty when the attempt never starts. A"
        " connection that breaks before the end of the answer does not mean that the job has ended. Where lines are missing (a"
        " log above its limit, a node that was not reachable) a line `[kube-job-runner: ...]` says so.",
        media_type="text/plain; charset=utf-8",
        answer_example="hello\n",
        problems=(LOG_NOT_READY, LOG_UNAVAILABLE, *DOWN),
    )


def log_request(query: LogQuery, *, now: datetime) -> LogRequest:
    """Return what a query asks for.

    Raises:
        RequestProblem: `since` or `after` cannot be read; with a fault for each.
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
    """Return the time that a text means: a duration before `now`, or an RFC 3339 time.

    Raises:
        ValueError: it is neither.
    """
    try:
        if _RFC3339.fullmatch(text):
            return max(_EARLIEST, datetime.fromisoformat(text.upper()).astimezone(UTC))
        return max(_EARLIEST, now - timedelta(seconds=durations.parse(text)))
    except OverflowError:
        return _EARLIEST
    except ValueError:
        pass
    raise ValueError("must be a duration such as 90s, 10m, 1h30m or 2d, or a time such as 2026-01-15T09:30:00Z")
