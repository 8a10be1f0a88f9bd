"""Finds the job that a user names: by id, by the first or last characters of an id, by name (its newest job), or by `@last`."""

from __future__ import annotations

import contextlib
import json
import os
import re
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from kube_job_runner.cli import exitcodes
from kube_job_runner.cli.error_report import CommandFailed

if TYPE_CHECKING:
    from kube_job_runner.client import Client, Job

LAST = "@last"
_FILE_NAME = "last-job.json"
_SCAN_MAX = 5000
_NAME_MAX = 63
_FULL_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_PREFIX = re.compile(r"[0-9a-f]{6,8}(-[0-9a-f-]*)?")
_END = re.compile(r"([0-9a-f-]*-)?[0-9a-f]{6,12}")
_EARLIEST = datetime(2020, 1, 1, tzinfo=UTC)
_CLOCK_SLACK = timedelta(minutes=10)


def remember(client: Client, job_id: str) -> None:
    """Store the id of the last job submitted from this machine to this server. An error of the file system is ignored."""
    path = _file()
    with contextlib.suppress(OSError):
        known = _read(path)
        known[client.server] = job_id
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=_FILE_NAME)
        with os.fdopen(handle, "w") as file:
            json.dump(known, file)
        Path(temporary).replace(path)


def _file() -> Path:
    from kube_job_runner.client import connection

    return connection.data_dir() / _FILE_NAME


def _read(path: Path) -> dict[str, str]:
    try:
        known = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return {str(key): str(value) for key, value in known.items()} if isinstance(known, dict) else {}


def resolve(client: Client, reference: str) -> Job:
    """Return the job that a reference names.

    Raises:
        CommandFailed: no job fits, or several ids begin or end with these characters. Of the ends, only those of the newest
            5,000 jobs are known.
        NotFound: there is no job with this id.
    """
    text = reference.strip()
    if text == LAST:
        return client.get(_last(client))
    lowered = text.lower()
    if _FULL_ID.fullmatch(lowered):
        return client.get(lowered)
    if _PREFIX.fullmatch(lowered) and len(lowered) < 36:
        found = _by_prefix(client, lowered)
        if len(found) == 1:
            return found[0]
        if found:
            raise _several(found, f"begin with {text!r}")
    named = next(iter(client.list(name=text, limit=1)), None) if 0 < len(text) <= _NAME_MAX else None
    if named is None and _END.fullmatch(lowered):
        found = [job for job in client.list(limit=_SCAN_MAX, page_size=500) if job.id.endswith(lowered)]
        if len(found) > 1:
            raise _several(found, f"end with {text!r}")
        named = found[0] if found else None
    if named is None:
        raise CommandFailed(f"there is no job {reference!r}", exit_code=exitcodes.NOT_FOUND)
    return named


def _several(found: list[Job], what: str) -> CommandFailed:
    ids = "\n".join(f"  {job.id}  {job.name}" for job in found[:5])
    return CommandFailed(f"{len(found)} jobs {what}; give more of the id:\n{ids}")


def _last(client: Client) -> str:
    job_id = _read(_file()).get(client.server)
    if job_id is None:
        raise CommandFailed(
            f"{LAST}: no job was submitted to {client.server} from this machine", exit_code=exitcodes.NOT_FOUND
        )
    return job_id


def window(prefix: str) -> tuple[datetime, datetime] | None:
    """Return the times between which ids with this prefix were made (a UUIDv7 begins with milliseconds, RFC 9562)."""
    digits = prefix.replace("-", "")[:12]
    try:
        first = datetime.fromtimestamp(int(digits.ljust(12, "0"), 16) / 1000, UTC)
        last = datetime.fromtimestamp(int(digits.ljust(12, "f"), 16) / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None
    if last < _EARLIEST or first > datetime.now(UTC) + timedelta(days=1):
        return None
    return first - _CLOCK_SLACK, last + _CLOCK_SLACK


def _by_prefix(client: Client, prefix: str) -> list[Job]:
    span = window(prefix)
    if span is None:
        return []
    found = []
    jobs = client.list(created_after=span[0], created_before=span[1], limit=_SCAN_MAX, page_size=500)
    for job in jobs:
        if job.id.startswith(prefix):
            found.append(job)
        elif found or job.id < prefix:
            break  # jobs come newest first and ids sort by time, so no other one can follow
    return found
