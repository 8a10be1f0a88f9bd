"""Text from elsewhere on a terminal: what `safetext` does, under a short name, and the bytes of a log."""

from __future__ import annotations

import codecs

from kube_job_runner.telemetry.safetext import block, json_safe, line

__all__ = ["LogText", "block", "json_safe", "line"]


class LogText:
    """Makes text for a terminal of a log's bytes: carriage returns of progress bars become line breaks, the rest is escaped."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        self._held_return = False

    def feed(self, data: bytes, *, final: bool = False) -> str:
        """Return what may be written for the next bytes of the log."""
        text = self._decoder.decode(data, final=final)
        if self._held_return:
            text = "\r" + text
        self._held_return = text.endswith("\r") and not final
        if self._held_return:
            text = text[:-1]
        return block(text.replace("\r\n", "\n").replace("\r", "\n"))
