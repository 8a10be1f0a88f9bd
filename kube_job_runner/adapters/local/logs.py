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


def tail_offset(descriptor: int, *, size: int, lines: int) -> int:
    """Return where the last `lines` lines of the first `size` bytes begin; an unfinished last line counts as one."""
    if lines <= 0:
        return size
    end = size
    missing = lines + 1 if size and os.pread(descriptor, 1, size - 1) == b"\n" else lines
    while end > 0:
        begin = max(0, end - CHUNK_BYTES)
        block = os.pread(descriptor, end - begin, begin)
        at = len(block)
        while missing and at > 0:
            at = block.rfind(b"\n", 0, at)
            if at < 0:
                break
            missing -= 1
            if missing == 0:
                return begin + at + 1
        end = begin
    return 0


async def read(
    path: Path, *, cap_bytes: int, tail_lines: int | None, follow: bool, ended: Callable[[], bool]
) -> AsyncGenerator[bytes, None]:
    """Yield a log in chunks; with `follow`, until `ended()` was true before the end of the file was reached.

    Raises:
        FileNotFoundError: there is no log (any more).
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        size = min(os.fstat(descriptor).st_size, cap_bytes)
        offset = 0 if tail_lines is None else tail_offset(descriptor, size=size, lines=tail_lines)
        while True:
            last = not follow or ended()
            chunk = os.pread(descriptor, min(CHUNK_BYTES, max(cap_bytes - offset, 0)), offset)
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
