"""Writes log bytes: unchanged to a file or a pipe; to a terminal escaped, but for the colours."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, BinaryIO

from kube_job_runner.cli.terminal import text

if TYPE_CHECKING:
    from kube_job_runner.client import LogChunk


class LogWriter:
    """Writes log chunks to stdout, or to stderr if stdout carries an object (`-o json`). `colored` keeps a log's own colours."""

    def __init__(self, *, to_stderr: bool = False, colored: bool = True) -> None:
        self._stream = sys.stderr if to_stderr else sys.stdout
        self._raw: BinaryIO | None = None if self._stream.isatty() else getattr(self._stream, "buffer", None)
        self._text = text.LogText(styles=colored)
        self._attempt = 0
        self._at_line_start = True
        self.reader_gone = False
        """Whether the reader has closed the pipe."""

    def write(self, chunk: LogChunk) -> None:
        """Write a chunk. If the reader has closed the pipe, drop the rest; the job is still followed."""
        if self.reader_gone:
            return
        if self._attempt and chunk.attempt != self._attempt:
            self.end_line()
        self._attempt = chunk.attempt
        try:
            if self._raw is None:
                self._put(self._text.feed(chunk.data))
            else:
                self._stream.flush()
                self._raw.write(chunk.data)
                self._raw.flush()
        except BrokenPipeError:
            self.reader_gone = True

    def end_line(self) -> None:
        """On a terminal, end an unfinished line of the log and its colours, so that the next message starts on a new line."""
        if self._raw is not None or self.reader_gone:
            return
        rest = self._text.feed(b"", final=True)
        self._put(rest + (text.RESET if self._text.styled else ""))
        self._text.styled = False
        if not self._at_line_start:
            self._put("\n")

    def _put(self, content: str) -> None:
        if content:
            self._at_line_start = content.removesuffix(text.RESET).endswith("\n")
            self._stream.write(content)
            self._stream.flush()
