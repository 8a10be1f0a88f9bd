"""The output of jobs in our own process: its bytes, their times, and the stamped text that a kubelet would send.

A line gets the time at which its beginning was first seen: at the write, or at the read of its file. The time never
changes, so a log that is read again has the same stamps.
"""

import bisect
import contextlib
from array import array
from datetime import datetime
from pathlib import Path

from kube_job_runner.domain.logs.stamps import format_stamp, stamp_of


class Times:
    """How the size of an output grew over time."""

    def __init__(self) -> None:
        self.ends = array("q")
        self.stamps = array("q")

    def note(self, end: int, at: datetime) -> bool:
        """Note that there are `end` bytes now; return False if none of them is new."""
        if (self.ends and end <= self.ends[-1]) or end <= 0:
            return False
        self.ends.append(end)
        self.stamps.append(stamp_of(at))
        return True

    def of(self, offset: int) -> int:
        """Return the stamp of the line that begins at a byte."""
        index = bisect.bisect_right(self.ends, offset)
        return self.stamps[min(index, len(self.stamps) - 1)] if self.stamps else 0


class FileTimes(Times):
    """`Times` in a file, for a later process."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        if path.exists():
            stored = array("q")
            data = path.read_bytes()
            stored.frombytes(data[: len(data) // 16 * 16])
            self.ends, self.stamps = stored[0::2], stored[1::2]

    def note(self, end: int, at: datetime) -> bool:
        """Note that there are `end` bytes now, also in the file."""
        if not super().note(end, at):
            return False
        with contextlib.suppress(OSError), self._path.open("ab") as file:  # the job may be gone by now
            file.write(array("q", [end, stamp_of(at)]).tobytes())
        return True


class Output:
    """The whole output of a container."""

    def __init__(self) -> None:
        self.content = bytearray()
        self.times = Times()

    def write(self, data: bytes, *, at: datetime) -> None:
        self.content += data
        self.times.note(len(self.content), at)


class Stamper:
    """Turns output, which it takes in parts from the beginning on, into the text that a kubelet would send."""

    def __init__(self, times: Times, *, since: datetime | None, timestamps: bool) -> None:
        self._times = times
        self._since = stamp_of(since.replace(microsecond=0)) if since is not None else None
        self._timestamps = timestamps
        self._offset = 0
        self._at_start = True
        self._shown = True

    def feed(self, data: bytes) -> bytes:
        if self._since is None and not self._timestamps:
            return data
        parts: list[bytes] = []
        for line in _lines(data):
            if self._at_start:
                stamp = self._times.of(self._offset)
                self._shown = self._since is None or stamp >= self._since
                if self._shown and self._timestamps:
                    parts.append(format_stamp(stamp) + b" ")
            if self._shown:
                parts.append(line)
            self._offset += len(line)
            self._at_start = line.endswith(b"\n")
        return b"".join(parts)


def _lines(data: bytes) -> list[bytes]:
    lines = [line + b"\n" for line in data.split(b"\n")]
    lines[-1] = lines[-1][:-1]
    return lines if lines[-1] else lines[:-1]
