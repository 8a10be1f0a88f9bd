"""Keeps what a node writes into a log stream apart from the log of the program.

A kubelet that fails after it has begun its answer puts the text of its error into the body, with HTTP 200: `failed to try
resolving symlinks in path ...`, `unable to retrieve container logs for ...` (pkg/kubelet/server, getContainerLogs). We ask for
time stamps, and every line of a program has one. So lines without a stamp at the end of a stream are the node's.
"""

import re
from collections.abc import Iterable

from kube_job_runner.domain.logs.stamps import NO_STAMP, Piece

HELD_MAX_BYTES = 4096
"""An error is short. More than that, and a stream whose lines have no stamps at all, are a log without stamps."""

_TORN = re.compile(rb"[\d:.TZ+-]+ ?")  # the beginning of a stamp, where an answer broke off


class NodeWords:
    """Holds lines without a stamp back until the stream goes on, or ends. `text` is what is held."""

    def __init__(self) -> None:
        self._held: list[Piece] = []
        self._held_bytes = 0
        self._in_line = False
        self._stamped = False
        self._stampless = False

    @property
    def text(self) -> str:
        """What the node said at the end of the stream, or nothing."""
        return b"".join(piece.data for piece in self._held).decode("utf-8", "replace").strip()

    def feed(self, pieces: Iterable[Piece]) -> list[Piece]:
        """Return the pieces of the program's log, as far as they are known to be that."""
        passed: list[Piece] = []
        for piece in pieces:
            begins, self._in_line = not self._in_line, not piece.data.endswith(b"\n")
            if piece.stamp != NO_STAMP:
                self._stamped = True
                passed += [*self._release(), piece]
            elif self._stampless or not (begins or self._held) or (begins and _TORN.fullmatch(piece.data)):
                passed.append(piece)
            elif (self._held and begins and not self._stamped) or self._held_bytes + len(piece.data) > HELD_MAX_BYTES:
                self._stampless = not self._stamped
                passed += [*self._release(), piece]
            else:
                self._held.append(piece)
                self._held_bytes += len(piece.data)
        return passed

    def _release(self) -> list[Piece]:
        held, self._held, self._held_bytes = self._held, [], 0
        return held
