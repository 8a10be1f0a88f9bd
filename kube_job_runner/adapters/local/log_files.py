"""Reading the log that a local process writes straight into a file, and keeping that file within its cap.

Nothing of ours stands between a job and its log: it has the file itself as standard output and error. The cap is kept from
outside: a file that has grown past it is cut back to one byte more than the cap, now and then; that byte is how a
reader knows that something is missing, and readers never show what lies behind the cap.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

CHUNK_BYTES = 256 * 1024
_POLL_SECONDS = 0.1


def mark(cap_bytes: int) -> bytes:
    """Return the line that stands where a log was cut."""
    return f"\n[kube-job-runner: the log was cut here, at its limit of {cap_bytes} bytes]\n".encode()


def cut(path: Path, *, cap_bytes: int) -> None:
    """Cut a log back when it is past its cap. The process goes on writing (it appends) and is cut again next time."""
    if path.stat().st_size > cap_bytes + 1:
        os.truncate(path, cap_bytes + 1)


async def read(
    path: Path, *, cap_bytes: int, follow: bool, ended: Callable[[], bool], note: Callable[[int], object]
) -> AsyncGenerator[bytes, None]:
    """Yield a log in chunks; with `follow`, until `ended()` was true before the end of the file was reached.

    `note` is told how much there is before it is read.

    Raises:
        FileNotFoundError: there is no log (any more).
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        offset = 0
        while True:
            last = not follow or ended()
            size = min(os.fstat(descriptor).st_size, cap_bytes)
            if size > offset:
                note(size)
            chunk = os.pread(descriptor, min(CHUNK_BYTES, max(size - offset, 0)), offset)
            offset += len(chunk)
            if chunk:
                yield chunk
                await asyncio.sleep(0)
            elif offset >= cap_bytes and os.fstat(descriptor).st_size > cap_bytes:
                yield mark(cap_bytes)
                return
            elif last:
                return
            else:
                await asyncio.sleep(_POLL_SECONDS)
    finally:
        os.close(descriptor)
