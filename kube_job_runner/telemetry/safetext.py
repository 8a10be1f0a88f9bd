"""Text from elsewhere where a person reads it: on a terminal, and in our own logs.

Whatever a job prints or a server says must not be able to move the cursor, hide or rewrite what is there, or make the
terminal answer. What could is shown as an escape that can be read. A leaf: it imports nothing of ours, so all may use it.
"""

from __future__ import annotations

import re

# C0 but tab and line feed, DEL, C1; bidirectional overrides and isolates, line separators, invisible operators, BOM.
_UNSAFE = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff"
)
_UNSAFE_BLOCK = re.compile(f"[{_UNSAFE}]")
_UNSAFE_LINE = re.compile(f"[{_UNSAFE}\t\n]")


def _escape(match: re.Match[str]) -> str:
    code = ord(match.group())
    named = {9: "\\t", 10: "\\n", 13: "\\r", 27: "\\e"}.get(code)
    return named or (f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}")


def line(text: object) -> str:
    """Return text for one line of a terminal or table: no control character is left, not even a line break."""
    return _UNSAFE_LINE.sub(_escape, str(text))


def block(text: str) -> str:
    """Return text that may hold tabs and line feeds; other control characters are escaped."""
    return _UNSAFE_BLOCK.sub(_escape, text)


def json_safe(text: str) -> str:
    """Return JSON text in which characters that JSON leaves as they are, and terminals do not, are escaped as JSON does."""
    return _UNSAFE_BLOCK.sub(lambda match: f"\\u{ord(match.group()):04x}", text)
