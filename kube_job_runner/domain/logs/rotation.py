"""Rotation: where the kubelet may have left lines of a log out, and where it sends a file again.

The kubelet renames the log of a running container above `containerLogMaxSize` (10 MiB by default), looks at it every
`containerLogMonitorInterval`, and returns only the newest file. A kubelet that follows a log opens the path again for
each file that was created (cri-client/pkg/logs, ReadLogs). When it is behind, it leaves whole files out and sends one
twice. Nothing in the stream says so, and only stamps, sizes and arrival times can show it.

Only `Rotation` decides about gaps. Its verdicts become marks that say "may be missing". The constants below are its evidence;
`docs/reference/logs.md` says what can still go unnoticed.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from kube_job_runner.domain.logs.stamps import NO_STAMP, Piece, stamp_of

_SECOND = 1_000_000_000

ROTATES_BYTES = 1024 * 1024
"""A smaller log was not rotated: `containerLogMaxSize` is 10 MiB by default, and hardly anywhere below this."""
ROTATED_BYTES = 8 * 1024 * 1024
"""A file that was rotated away holds more than this, by the default `containerLogMaxSize` of 10 MiB."""
ROTATION_NANOSECONDS = 5 * _SECOND // 2
"""Two rotations are further apart: the kubelet refuses a `containerLogMonitorInterval` below 3 s (config/validation)."""
_BURST_NANOSECONDS = _SECOND // 2
"""A shorter gap is not judged, however fast the program prints. Chosen: loaded machines make such pauses all the time."""
_STALL_NANOSECONDS = 5 * _SECOND
"""A longer silence is the program's. A kubelet 1.36 without CPU was seen to be silent for a second or two."""
_OVERTAKEN_NANOSECONDS = _SECOND // 100
"""Standard output and error are two pipes with a clock call each, so their stamps may be out of order by this much."""
_START_NANOSECONDS = _SECOND
"""The start of a container is known to the second (`startedAt` is a metav1.Time)."""
_STRETCH_BYTES = 256 * 1024
"""The speed of a program is measured over this much of its output. Chosen."""
_QUIET_SECONDS = 3.0
"""A follow that is silent for as long as the shortest interval between rotations may be at the end of a file that was
rotated away before the kubelet watched it."""

GAP_TEXT = "lines may be missing here: the log was rotated while it was not read"
BEHIND_TEXT = "lines may be missing here: the log was rotated faster than the kubelet gave it out"
HEAD_TEXT = "lines may be missing before this: the log was rotated before it was read"


class Part(NamedTuple):
    """New lines in order. With `file_missing` a whole file may be missing before them."""

    pieces: Sequence[Piece]
    file_missing: bool = False


class Rotation:
    """Judges what rotation did to the log of one container, which is read over one or more connections."""

    def __init__(self) -> None:
        self._rate = Rate()
        self._at_end = self._was_at_end = False
        self._following = False
        self._connection_bytes = 0
        self._arrived_seconds = 0.0
        self._last_stamp = self._opened_stamp = self._started_stamp = 0
        self._late_start: tuple[int, int] | None = None

    def open(
        self, *, at_seconds: float, follow: bool, now: datetime | None = None, started_at: datetime | None = None
    ) -> None:
        """Begin a connection. `at_seconds` is a monotonic time; `now` and `started_at` are the node's or near it."""
        self._rate = Rate()
        self._was_at_end, self._at_end = self._at_end, False
        self._following = follow
        self._connection_bytes = 0
        self._arrived_seconds = at_seconds
        self._last_stamp = 0
        self._opened_stamp = _whole_second(now)
        self._started_stamp = _whole_second(started_at)

    def receive(self, size_bytes: int) -> None:
        """Count bytes that arrived over this connection."""
        self._connection_bytes += size_bytes

    def end(self) -> None:
        """Note that this connection has read its file to the end."""
        self._at_end = True

    @property
    def possible(self) -> bool:
        """Whether the log may have been rotated during this connection."""
        return self._connection_bytes >= ROTATES_BYTES

    @property
    def quiet_seconds(self) -> float | None:
        """How long this connection may be silent before the log must be asked for again; None for any time."""
        return _QUIET_SECONDS if self._following and self.possible else None

    def continues(self, first_stamp: int, *, last_stamp: int) -> bool:
        """Return whether no lines are missing before a stream that begins after the last known line.

        So it is if the last file was read to its end, and too little time has passed for another file in between.
        """
        return self._was_at_end and 0 <= first_stamp - last_stamp < ROTATION_NANOSECONDS

    def repeats_at(self, pieces: Sequence[Piece]) -> int:
        """Return the index of the line with which a file begins again, or -1."""
        return step_back(pieces, last_stamp=self._last_stamp) if self.possible else -1

    def split(self, pieces: Sequence[Piece], *, at_seconds: float) -> list[Part]:
        """Split lines that arrived at this monotonic time where a whole file may be missing."""
        idle_nanoseconds = int((at_seconds - self._arrived_seconds) * _SECOND)
        self._arrived_seconds = at_seconds
        parts = []
        while (index := self._gap_at(pieces)) >= 0:
            file_missing = index > 0 or hides_a_file(
                pieces[0].stamp - self._last_stamp,
                idle_nanoseconds=idle_nanoseconds,
                bytes_per_second=self._rate.bytes_per_second,
            )
            parts.append(self._passed(pieces[:index]))
            self._rate.pause()
            parts.append(self._passed(pieces[index : index + 1], file_missing=file_missing))
            pieces = pieces[index + 1 :]
        parts.append(self._passed(pieces))
        return parts

    def begin(self, first_stamp: int) -> bool:
        """Take the first line of the log; return whether lines before it may have been rotated away.

        `misses_beginning` decides that later, by the speed of the next lines. If a followed line was printed after the
        connection was opened, no file was rotated away before it.
        """
        seen = self._following and first_stamp > self._opened_stamp + _START_NANOSECONDS
        late = first_stamp - self._started_stamp - _START_NANOSECONDS
        if not self._started_stamp or first_stamp <= 0 or seen or late <= 0:
            return False
        self._late_start = (first_stamp, late)
        return True

    def misses_beginning(self, *, total_bytes: int, last_stamp: int) -> bool:
        """Return, once, whether the program prints so fast that a file may have been rotated away before the first line."""
        if self._late_start is None or total_bytes < _STRETCH_BYTES:
            return False
        (first_stamp, late), self._late_start = self._late_start, None
        return late * total_bytes >= (last_stamp - first_stamp) * ROTATED_BYTES

    def _gap_at(self, pieces: Sequence[Piece]) -> int:
        if not self.possible:
            return -1
        return fast_rotation(
            pieces,
            last_stamp=self._last_stamp,
            since_stamp=self._opened_stamp,
            bytes_per_second=self._rate.bytes_per_second,
        )

    def _passed(self, pieces: Sequence[Piece], *, file_missing: bool = False) -> Part:
        self._last_stamp = next((piece.stamp for piece in reversed(pieces) if piece.stamp >= 0), self._last_stamp)
        self._rate.feed(pieces, last_stamp=self._last_stamp)
        return Part(pieces, file_missing)


def _whole_second(moment: datetime | None) -> int:
    return stamp_of(moment.replace(microsecond=0)) if moment is not None else 0


def fast_rotation(pieces: Sequence[Piece], *, last_stamp: int, since_stamp: int, bytes_per_second: float = 0.0) -> int:
    """Return the index of the first line before which a whole file can be missing, or -1.

    More time than between two rotations lies before that line. A busy kubelet may rotate late and then on time: then the
    gap is as long as it takes to print a file at the speed of the lines before it. Lines before `since_stamp`, when the
    connection was opened, are in one file.
    """
    least = ROTATION_NANOSECONDS
    if bytes_per_second > 0:
        least = min(least, max(_BURST_NANOSECONDS, int(ROTATED_BYTES / bytes_per_second * _SECOND)))
    previous = last_stamp
    for index, piece in enumerate(pieces):
        if piece.stamp == NO_STAMP:
            continue
        if piece.stamp - previous >= least and piece.stamp > since_stamp and previous > 0:
            return index
        previous = piece.stamp
    return -1


def hides_a_file(gap_nanoseconds: int, *, idle_nanoseconds: int, bytes_per_second: float) -> bool:
    """Return whether a gap before a line hides a file, when nothing arrived for `idle_nanoseconds` before it.

    Usually the program was silent, and then the pause is as long as the gap. But a kubelet that gets no CPU is silent too,
    and leaves out a file when it goes on. That is so if a file could have been printed during the gap.
    """
    if idle_nanoseconds < gap_nanoseconds * 3 // 4:
        return True
    return gap_nanoseconds < _STALL_NANOSECONDS and bytes_per_second * gap_nanoseconds >= ROTATED_BYTES * _SECOND


def step_back(pieces: Sequence[Piece], *, last_stamp: int) -> int:
    """Return the index of the first line that is clearly older than the line before it, or -1.

    Either the kubelet sends a file again, or the node's clock was set back.
    """
    previous = last_stamp
    for index, piece in enumerate(pieces):
        if piece.stamp == NO_STAMP:
            continue
        if piece.stamp < previous - _OVERTAKEN_NANOSECONDS:
            return index
        previous = piece.stamp
    return -1


class Rate:
    """How fast a program prints, by the stamps of its lines: over the last stretch of 256 KiB."""

    def __init__(self) -> None:
        self.bytes_per_second = 0.0
        self._bytes = 0
        self._from = 0

    def feed(self, pieces: Sequence[Piece], *, last_stamp: int) -> None:
        """Add lines; `last_stamp` is that of the last one."""
        if not self._from:
            self._from = next((piece.stamp for piece in pieces if piece.stamp != NO_STAMP), 0)
        self._bytes += sum(len(piece.data) for piece in pieces)
        if self._bytes >= _STRETCH_BYTES and self._from:
            elapsed = max(last_stamp - self._from, 1_000_000)
            self.bytes_per_second = self._bytes / elapsed * _SECOND
            self._bytes, self._from = 0, last_stamp

    def pause(self) -> None:
        """Begin a new stretch after a gap."""
        self._bytes, self._from = 0, 0
