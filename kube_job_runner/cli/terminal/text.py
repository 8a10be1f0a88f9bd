"""Makes foreign text safe for a terminal: `safetext` under a short name, and the bytes of a log."""

import codecs
import re

from kube_job_runner.telemetry.safetext import block, json_safe, line

__all__ = ["RESET", "LogText", "block", "json_safe", "line"]


RESET = "\x1b[0m"
# Select Graphic Rendition (ECMA-48, 8.3.117): it changes colour and weight of the text that follows, and nothing else.
_STYLE = re.compile(r"(\x1b\[[0-9;:]{0,48}m)")
_UNFINISHED = re.compile(r"(\r|\x1b(\[[0-9;:]{0,48})?)\Z")


class LogText:
    """Converts log bytes to terminal text. Carriage returns (of progress bars) become line breaks; the rest is escaped.

    With `styles`, the sequences that set colours are kept.
    """

    def __init__(self, *, styles: bool = False) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        self._styles = styles
        self._held = ""
        self.styled = False
        """Whether a style is set that the log has not reset."""

    def feed(self, data: bytes, *, final: bool = False) -> str:
        """Return the safe text for the next bytes of the log."""
        text = self._held + self._decoder.decode(data, final=final)
        unfinished = None if final else _UNFINISHED.search(text)
        self._held = unfinished.group() if unfinished else ""
        text = text[: len(text) - len(self._held)].replace("\r\n", "\n").replace("\r", "\n")
        if not self._styles:
            return block(text)
        parts = _STYLE.split(text)
        for style in parts[1::2]:
            self.styled = style not in (RESET, "\x1b[m")
        return "".join(part if at % 2 else block(part) for at, part in enumerate(parts))
