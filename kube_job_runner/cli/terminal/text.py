"""Makes foreign text safe for a terminal: `safetext` under a short name, and the bytes of a log."""

import codecs

from kube_job_runner.telemetry.safetext import block, json_safe, line

__all__ = ["LogText", "block", "json_safe", "line"]


class LogText:
    """Converts log bytes to terminal text. Carriage returns (of progress bars) become line breaks; the rest is escaped."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        self._held_return = False

    def feed(self, data: bytes, *, final: bool = False) -> str:
        """Return the safe text for the next bytes of the log."""
        text = self._decoder.decode(data, final=final)
        if self._held_return:
            text = "\r" + text
        self._held_return = text.endswith("\r") and not final
        if self._held_return:
            text = text[:-1]
        return block(text.replace("\r\n", "\n").replace("\r", "\n"))
