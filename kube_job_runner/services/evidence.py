"""Reads the last lines of a container from its stored log, as evidence for an explanation."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from uuid import UUID

from kube_job_runner.domain.logs.chunks import decode_body
from kube_job_runner.ports import LogReader

LINE_MAX_BYTES = 2000
_CHUNKS_AT_ONCE = 4


class LastLines:
    """Reads the ends of stored logs. A long line is cut after `LINE_MAX_BYTES`."""

    def __init__(self, logs: LogReader) -> None:
        self._logs = logs

    async def read(self, job_id: UUID, attempt: int, container: str, limit: int) -> Sequence[str]:
        """Return the last lines that a container of the attempt wrote, at most `limit`, oldest first.

        Raises:
            TemporaryError: the store of the logs does not answer.
        """
        key = (job_id, attempt)
        stored = await self._logs.containers(key)
        total = next((one.lines for one in stored if one.container == container), 0)
        if total == 0:
            return []
        seq = await self._logs.find_chunk(key, container, line=max(1, total - limit + 1))
        tail = _Tail(limit)
        while True:
            chunks = await self._logs.read_chunks(key, container, from_seq=seq, limit=_CHUNKS_AT_ONCE)
            for chunk in chunks:
                if chunk.mark:
                    tail.add(f"\n[{chunk.mark}]\n".encode())
                elif chunk.data is not None:
                    tail.add(decode_body(chunk.data).content)
            if len(chunks) < _CHUNKS_AT_ONCE:
                return tail.lines()
            seq = chunks[-1].seq + 1


class _Tail:
    """Keeps the last lines of the added content. Each line is cut, so memory is bounded."""

    def __init__(self, limit: int) -> None:
        self._lines: deque[bytes] = deque(maxlen=limit)
        self._open = b""

    def add(self, content: bytes) -> None:
        *whole, rest = content.split(b"\n")
        for line in whole:
            self._lines.append((self._open + line[:LINE_MAX_BYTES])[:LINE_MAX_BYTES])
            self._open = b""
        self._open = (self._open + rest[:LINE_MAX_BYTES])[:LINE_MAX_BYTES]

    def lines(self) -> list[str]:
        if self._open:
            self._lines.append(self._open)
        # A progress bar overwrites its own line: keep what a terminal would show last.
        return [line.rstrip(b"\r").rsplit(b"\r", 1)[-1].decode("utf-8", "replace") for line in self._lines]
