"""What the API is asked: paths, queries and bodies, with the limits that its document states."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import Meta

from kube_job_runner.domain.logs.view import PLACE_PATTERN
from kube_job_runner.domain.spec.model import JobSpec
from kube_job_runner.domain.states import State
from kube_job_runner.services.listing import CURSOR_PATTERN, SELECTOR_MAX_LENGTH, SELECTOR_PATTERN

BATCH_MAX = 1000
WAIT_PATTERN = r"^[0-9]{1,6}(\.[0-9]{1,6})?(ms|s|m)?$(?!\n)"
DURATION_PATTERN = r"^[0-9]{1,9}(ms|s|m|h|d)$(?!\n)"
REASON_PATTERN = r"^[A-Za-z][A-Za-z0-9_-]*$(?!\n)"


class JobPath(msgspec.Struct, frozen=True):
    """The job of a request."""

    id: Annotated[
        UUID, Meta(description="The id of the job. An unknown and a malformed id are both answered with 404.")
    ]


class ProblemPath(msgspec.Struct, frozen=True):
    """The problem of a page."""

    code: str


_NO_NUL: dict[str, Any] = {"pattern": r"^[^\u0000]*$"}  # the kit refuses a NUL in any query value


class SubmitQuery(msgspec.Struct, frozen=True):
    """How a body is read."""

    strict: Annotated[bool, Meta(description="Refuse unknown fields instead of ignoring them with a warning.")] = False


class JobQuery(msgspec.Struct, frozen=True):
    """Whether to wait for a change."""

    wait: (
        Annotated[
            str,
            Meta(
                pattern=WAIT_PATTERN,
                description="Wait this long (`30s`, `500ms`, `1m`; a bare number is seconds) for a version above `since`."
                " The server's own limit is 60 s unless configured otherwise; a longer wait is cut to it.",
            ),
        ]
        | None
    ) = None
    since: Annotated[int, Meta(ge=0, le=2**31 - 1, description="The version that is known already; see `wait`.")] = 0


class ListQuery(msgspec.Struct, frozen=True):
    """Which jobs to list."""

    state: Annotated[tuple[State, ...], Meta(description="States to show; repeat it, or join them by commas.")] = ()
    queue: Annotated[str, Meta(max_length=63, extra_json_schema=_NO_NUL, description="Jobs of this queue.")] | None = (
        None
    )
    namespace: (
        Annotated[str, Meta(max_length=63, extra_json_schema=_NO_NUL, description="Jobs of this Kubernetes namespace.")]
        | None
    ) = None
    name: Annotated[str, Meta(max_length=63, extra_json_schema=_NO_NUL, description="Jobs of this name.")] | None = None
    reason: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=63,
                pattern=REASON_PATTERN,
                description="Jobs that failed for this reason (`OutOfMemory`, or its category `out_of_memory`); with `state`,"
                " jobs of those states that have it.",
            ),
        ]
        | None
    ) = None
    rerun_of: Annotated[UUID, Meta(description="Jobs that run this one again.")] | None = None
    labels: (
        Annotated[
            str,
            Meta(
                max_length=SELECTOR_MAX_LENGTH,
                description="A label selector in Kubernetes' grammar, such as `team=a,tier in (web,db),!canary`.",
                extra_json_schema={"pattern": SELECTOR_PATTERN},
            ),
        ]
        | None
    ) = None
    created_after: (
        Annotated[datetime, Meta(tz=True, description="Jobs submitted after this time (RFC 3339).")] | None
    ) = None
    created_before: (
        Annotated[datetime, Meta(tz=True, description="Jobs submitted before this time (RFC 3339).")] | None
    ) = None
    limit: Annotated[int, Meta(ge=1, le=500, description="Jobs per page.")] = 50
    cursor: (
        Annotated[str, Meta(pattern=CURSOR_PATTERN, description="`next_cursor` of the last page, as it came.")] | None
    ) = None


class LogQuery(msgspec.Struct, frozen=True):
    """Which log to read."""

    follow: Annotated[bool, Meta(description="Wait for the start, and stay until the attempt has ended.")] = False
    tail: Annotated[int, Meta(ge=0, le=1_000_000, description="Only this many last lines.")] | None = None
    since: (
        Annotated[
            str,
            Meta(
                max_length=64,
                description="Only lines that are not older: a duration before now, such as `90s`, `10m`, `2h` or `1d`, or an"
                " RFC 3339 time. By the node's clock.",
                examples=["10m"],
                extra_json_schema={"anyOf": [{"pattern": DURATION_PATTERN}, {"format": "date-time"}]},
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
                description="Only lines that hold this text, exactly; no pattern. Applied after `tail` and `since`.",
                extra_json_schema=_NO_NUL,
            ),
        ]
        | None
    ) = None
    container: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=63,
            description="The container's name; the job's own is `main`.",
            extra_json_schema=_NO_NUL,
        ),
    ] = "main"
    timestamps: Annotated[bool, Meta(description="Before each line its time, in UTC with nanoseconds.")] = False
    frames: Annotated[
        bool,
        Meta(
            description="For programs: before each piece a line `PLACE LENGTH`, then so many bytes. A reader whose connection"
            " broke goes on with `after=PLACE` and repeats and misses nothing."
        ),
    ] = False
    after: (
        Annotated[
            str,
            Meta(
                max_length=32,
                description="Go on from the place of a frame; `tail` is of no effect.",
                extra_json_schema={"pattern": PLACE_PATTERN},
            ),
        ]
        | None
    ) = None
    attempt: Annotated[int, Meta(ge=1, le=9999, description="The attempt's number; without it, the newest.")] | None = (
        None
    )


class ReadyQuery(msgspec.Struct, frozen=True):
    """How much a health answer says."""

    verbose: Annotated[bool, Meta(description="One line for each check.")] = False


class CancelBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why a job is to end, and how fast."""

    reason: Annotated[str, Meta(max_length=1024)] = ""
    grace_seconds: (
        Annotated[
            int,
            Meta(
                ge=0,
                le=3600,
                description="How long the container has between SIGTERM and SIGKILL; 0 kills at once. Without it, what the"
                " job's spec says.",
            ),
        ]
        | None
    ) = None


class BatchBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Jobs to submit at once. Each is judged alone."""

    jobs: Annotated[tuple[JobSpec, ...], Meta(min_length=1, max_length=BATCH_MAX)]
