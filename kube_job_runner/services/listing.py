"""Lists of jobs: filters, and pages with cursors."""

import base64
import binascii
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple, TypeVar
from uuid import UUID

import msgspec

from kube_job_runner.domain import label_selector
from kube_job_runner.domain.failures import categories
from kube_job_runner.domain.job import Job
from kube_job_runner.domain.states import State
from kube_job_runner.ports import JobFilter, JobReader

T = TypeVar("T")
R = TypeVar("R")

CURSOR_PATTERN = r"^[A-Za-z0-9_-]{21}[AQgw]$(?!\n)"
# No job is older or newer, so times are limited to these. The store may also read some days around a time.
_EARLIEST = datetime(1970, 1, 2, tzinfo=UTC)
_LATEST = datetime(9999, 1, 1, tzinfo=UTC)


class FilterFault(NamedTuple):
    field: str
    detail: str


class WrongFilter(ValueError):
    def __init__(self, faults: Sequence[FilterFault]) -> None:
        super().__init__("; ".join(f"{fault.field} {fault.detail}" for fault in faults))
        self.faults = faults


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """A page of jobs, newest first. `next_cursor` is None on the last page."""

    jobs: list[Job]
    next_cursor: str | None


def job_filter(
    *,
    states: tuple[State, ...] = (),
    queue: str | None = None,
    namespace: str | None = None,
    name: str | None = None,
    reason: str | None = None,
    rerun_of: UUID | None = None,
    labels: str = "",
    created_after: datetime | None = None,
    created_before: datetime | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> JobFilter:
    """Return the filter of a list from texts that a person wrote.

    `reason` is a reason code or a category, `labels` a label selector, `cursor` that of the page before. Times have a zone.

    Raises:
        WrongFilter: some fields cannot be used; it names all of them.
    """
    faults: list[FilterFault] = []

    def read(field: str, parse: Callable[[T], R], value: T | None) -> R | None:
        try:
            return None if value is None else parse(value)
        except ValueError as error:
            faults.append(FilterFault(field, str(error)))
            return None

    found = JobFilter(
        states=states,
        queue=queue,
        namespace=namespace,
        name=name,
        reason=None if reason is None else categories.code_of(reason),
        rerun_of=rerun_of,
        labels=read("labels", label_selector.parse, labels) or (),
        created_after=read("created_after", _in_range, created_after),
        created_before=read("created_before", _in_range, created_before),
        before_id=read("cursor", decode_cursor, cursor),
        limit=limit,
    )
    if faults:
        raise WrongFilter(faults)
    return found


async def page(reader: JobReader, wanted: JobFilter) -> Page:
    """Return a page of at most `wanted.limit` jobs."""
    jobs = await reader.list_jobs(msgspec.structs.replace(wanted, limit=wanted.limit + 1))
    shown = jobs[: wanted.limit]
    return Page(jobs=shown, next_cursor=encode_cursor(shown[-1].id) if len(jobs) > wanted.limit else None)


def _in_range(time: datetime) -> datetime:
    try:
        return min(max(time.astimezone(UTC), _EARLIEST), _LATEST)
    except OverflowError:
        raise ValueError("is outside the years 1 to 9999 in UTC") from None


def encode_cursor(last_id: UUID) -> str:
    """Return the opaque cursor of the page after the job `last_id`."""
    return base64.urlsafe_b64encode(last_id.bytes).decode("ascii").rstrip("=")


def decode_cursor(cursor: str) -> UUID:
    """Return the id in a cursor.

    Raises:
        ValueError: it is not one of our cursors.
    """
    if not re.match(CURSOR_PATTERN, cursor):
        raise ValueError("is not a cursor; send `next_cursor` of the last page unchanged")
    try:
        return UUID(bytes=base64.urlsafe_b64decode(cursor + "=="))
    except (binascii.Error, ValueError) as error:
        raise ValueError("is not a cursor") from error
