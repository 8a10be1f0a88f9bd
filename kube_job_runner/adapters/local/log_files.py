"""Reads the log file of a local process, and keeps it within its cap.

A job writes straight into the file: it is its standard output and error. So the cap is kept from outside. A file that has
grown past the cap is cut back, from time to time, to one byte more than the cap. That byte tells a reader that something
is missing. Readers never show bytes behind the cap.
"""

import asyncio
import os
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

CHUNK_BYTES = 256 * 1024
_POLL_SECONDS = 0.1


def mark(cap_bytes: int) -> bytes:
    """Return the line that readers see where a log was cut."""
    return f"\n[kube-job-runner: the log was cut here, at its limit of {cap_bytes} bytes]\n".encode()


def cut(path: Path, *, cap_bytes: int) -> None:
    """Cut a log back if it is past its cap. The process still appends to it, and the next call cuts it again."""
    if path.stat().st_size > cap_bytes + 1:
        os.truncate(path, cap_bytes + 1)


async def read(
    path: Path, *, cap_bytes: int, follow: bool, ended: Callable[[], bool], note: Callable[[int], object]
) -> AsyncGenerator[bytes, None]:
    """Yield a log in chunks. With `follow`, wait for more until `ended()` is true before the end of the file is reached.

    `note` is called with the size of the log before new bytes are read.

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
