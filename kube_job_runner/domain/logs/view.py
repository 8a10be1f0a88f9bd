"""A reader's view of a log: which lines of its chunks to show, with or without times, and the place to continue from.

`grep` is a substring and never a regular expression, which could run for ever. Of a line above `GREP_MAX_BYTES` only the
beginning is searched, so that the memory of a reader is bounded.
"""

import re

import msgspec

from kube_job_runner.domain.logs.chunks import Body, Chunk, mark_line
from kube_job_runner.domain.logs.stamps import format_stamp

GREP_MAX_BYTES = 1024 * 1024
PLACE_PATTERN = r"^([0-9]{1,9})\.([0-9]{1,18})$(?!\n)"
_PLACE = re.compile(PLACE_PATTERN)


class Place(msgspec.Struct, frozen=True):
    """A place in a log: before this byte of the whole log, in the chunk with that number or a later one."""

    seq: int = 0
    byte: int = 0

    def __str__(self) -> str:
        return f"{self.seq}.{self.byte}"


def parse_place(text: str) -> Place:
    """Return the place that a text names.

    Raises:
        ValueError: it names none.
    """
    match = _PLACE.fullmatch(text)
    if match is None:
        raise ValueError("must be a place that the server gave, such as 3.4096")
    return Place(int(match[1]), int(match[2]))


class View(msgspec.Struct, frozen=True, kw_only=True):
    """Which lines to show: those that contain `grep`, are not older than `since_stamp`, and from number `first_line` on."""

    timestamps: bool = False
    grep: bytes = b""
    since_stamp: int = 0
    first_line: int = 1

    @property
    def plain(self) -> bool:
        """Whether the whole log is shown as it was printed."""
        return not (self.timestamps or self.grep or self.since_stamp or self.first_line > 1)


class Renderer:
    """Renders chunks, in their order, as a reader's text.

    `read` is where to read the next chunk from, `place` where a later reader continues without repeating or missing a line.
    """

    def __init__(self, view: View, *, start: Place, resumed: bool) -> None:
        self._view = view
        self.read = start
        self.place = start
        self._shown: bool | None = resumed  # whether to show the present line; None: not decided yet
        self._held = b""
        self._prefix = b""
        self._ends_open = False
        self._known = resumed or start == Place()

    def mark(self, chunk: Chunk) -> bytes:
        """Return the text of a mark."""
        if chunk.seq < self.read.seq:
            return b""
        return self._marked(chunk.mark, Place(chunk.seq + 1, max(self.read.byte, chunk.first_byte + chunk.size_bytes)))

    def _marked(self, words: str, after: Place) -> bytes:
        text = self.finish() + mark_line(words, mid_line=self._ends_open)
        self._ends_open = False
        self._shown = None if self._view.grep else True
        self.read = self.place = after
        self._known = True
        return text

    def body(self, chunk: Chunk, body: Body) -> bytes:
        """Return the text to show of a chunk, from where it was not read before."""
        missing = chunk.first_byte - self.read.byte
        if self._known and missing > 0:  # the cap left them out while this reader was reading
            words = f"{missing} bytes left out here: the log is above its limit"
            return self._marked(words, Place(chunk.seq, chunk.first_byte)) + self.body(chunk, body)
        self._known = True
        cut = min(max(0, self.read.byte - chunk.first_byte), len(body.content))
        end = chunk.first_byte + len(body.content)
        after = Place(chunk.seq + 1 if chunk.sealed else chunk.seq, end)
        if self._view.plain:
            text = body.content[cut:] if cut else body.content
            self.place = after
        else:
            text = self._lines(chunk, body, cut, after)
        self.read = after
        if text:
            self._ends_open = not text.endswith(b"\n")
        return text

    def finish(self) -> bytes:
        """Return, at the end, what was held back of an unfinished last line."""
        held, self._held = self._held, b""
        if self._shown is None and self._view.grep and self._view.grep in held:
            return self._prefix + held
        return b""

    def _lines(self, chunk: Chunk, body: Body, cut: int, after: Place) -> bytes:
        content, out = body.content, []
        begun = (0 if chunk.continues or cut == 0 else 1) + content.count(b"\n", 0, max(cut - 1, 0))
        mid_line = chunk.continues if cut == 0 else content[cut - 1 : cut] != b"\n"
        position = cut
        while position < len(content):
            end = content.find(b"\n", position) + 1 or len(content)
            if not mid_line:
                self._begin(chunk.first_line + begun, body.stamps[begun], Place(chunk.seq, chunk.first_byte + position))
                begun += 1
            out.append(self._part(content[position:end], ended=content[end - 1] == 10))
            mid_line = content[end - 1] != 10
            position = end
        if not mid_line or self._shown:
            self.place = after
        return b"".join(out)

    def _begin(self, number: int, stamp: int, place: Place) -> None:
        view = self._view
        self._held = b""
        self.place = place
        self._prefix = format_stamp(stamp) + b" " if view.timestamps else b""
        if number < view.first_line or stamp < view.since_stamp:
            self._shown = False
        elif view.grep:
            self._shown = None
        else:
            self._shown = True
            self._held = self._prefix

    def _part(self, data: bytes, *, ended: bool) -> bytes:
        if self._shown:
            prefix, self._held = self._held, b""
            return prefix + data
        if self._shown is None:
            self._held += data
            if ended or len(self._held) >= GREP_MAX_BYTES:
                self._shown = self._view.grep in self._held
                held, self._held = self._held, b""
                return self._prefix + held if self._shown else b""
        return b""
