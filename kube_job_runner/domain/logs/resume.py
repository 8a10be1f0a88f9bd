"""Resuming a log: which lines of a stream that is read again are new.

A line is recognised by its stamp and by the stamps around it. Nothing is lost or repeated, wherever the stream broke off.
"""

from collections.abc import Iterable, Sequence

from kube_job_runner.domain.logs.stamps import NO_STAMP, Piece

_CANDIDATES_MAX = 10_000  # later starts to try once lines have matched: equal stamps must not cost quadratic time
_TORN_MAX_BYTES = 1024 * 1024  # of a first line that is held back


class Resume:
    """Drops the lines that are already stored from a stream that is read again.

    `known` holds the stamps of the stored lines from where the stream may begin, in order. The last known line is stored up
    to `open_bytes` bytes, or entirely (0). With `trimmed` the stream may begin earlier than `known`, because the cap left
    out the first lines.

    After a rotation the stream begins later: it is aligned with the rest of `known`. If nothing fits, `gap` is set, and
    lines may be missing before the returned ones. `begins_later` is set if not even the first line was known.

    A rotation, or a `sinceTime`, can cut a line in two. The stream then begins with the rest of that line, under a stamp of
    its own. It is held back until the next line shows whether it is stored already.
    """

    def __init__(self, known: Sequence[int], *, open_bytes: int, trimmed: bool = False) -> None:
        self._known = known
        self._trimmed = trimmed
        self._open_bytes = open_bytes
        self._from = 0
        self._matched = 0
        self._skip_bytes = 0
        self._state = "drop" if known else "pass"
        self._held: list[Piece] = []
        self._held_bytes = 0
        self.gap = False

    @property
    def begins_later(self) -> bool:
        """Whether the stream begins after all known lines."""
        return self.gap and not self._matched

    def feed(self, pieces: Iterable[Piece]) -> list[Piece]:
        """Return the new ones of these pieces."""
        if self._state == "pass":
            return list(pieces)
        return [new for piece in pieces for new in self._one(piece)]

    def flush(self) -> list[Piece]:
        """Return, at the end of the stream, the line that was held back: the only one of the stream, and a new one."""
        return self._give_up() if self._held else []

    def describe(self) -> dict[str, int]:
        """Return how many lines were recognised, for our own log."""
        return {"known": len(self._known), "skipped": self._from, "matched": self._matched}

    def _one(self, piece: Piece) -> list[Piece]:
        if self._state == "pass":
            return [piece]
        if piece.stamp == NO_STAMP:
            return self._part(piece)
        if self._trimmed and not self._matched and piece.stamp < self._known[0]:
            return []
        if self._state == "last":
            self._state = "pass"
            return [piece]
        if not self._fits(piece.stamp):
            if not self._matched and not self._held:
                self._hold(piece)
                return []
            return [*self._give_up(), piece]
        self._held.clear()
        if self._state == "pass":  # the known lines are over, and this one is new
            return [piece]
        self._matched += 1
        if self._from + self._matched < len(self._known):
            return []
        self._state = "last"
        self._skip_bytes = self._open_bytes
        return self._rest_of_last(piece.data)

    def _part(self, piece: Piece) -> list[Piece]:
        if self._state == "last":
            return self._rest_of_last(piece.data)
        if self._held:
            self._hold(piece)
            if self._held_bytes > _TORN_MAX_BYTES:
                return self._give_up()
        return []

    def _hold(self, piece: Piece) -> None:
        self._held.append(piece)
        self._held_bytes += len(piece.data)

    def _give_up(self) -> list[Piece]:
        held, self._held = self._held, []
        self._state = "pass"
        self.gap = True
        return held

    def _rest_of_last(self, data: bytes) -> list[Piece]:
        if self._open_bytes == 0:
            return []
        skipped = min(self._skip_bytes, len(data))
        self._skip_bytes -= skipped
        return [Piece(NO_STAMP, data[skipped:])] if len(data) > skipped else []

    def _fits(self, stamp: int) -> bool:
        """Whether a line is the next known one, if need be from a later start of the stream among the known lines."""
        known, matched = self._known, self._matched
        if known[self._from + matched] == stamp:
            return True
        seen = [*known[self._from : self._from + matched], stamp]
        last = min(len(known), self._from + _CANDIDATES_MAX if matched else len(known))
        for start in range(self._from + 1, last):
            if known[start] != seen[0]:
                continue
            length = min(len(seen), len(known) - start)
            if list(known[start : start + length]) == seen[:length]:
                self._from = start
                if length < len(seen):
                    self._state = "pass"
                return True
        return False
