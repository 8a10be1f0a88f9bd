"""Makes foreign text safe to show on a terminal and in our own logs.

The output of a job or the answer of a server must not move the cursor, hide or rewrite other text, or make the terminal
answer. Characters that could do so are shown as readable escapes. This module imports nothing of ours, so all may use it.
"""

import re

# C0 without tab and line feed, DEL, C1; bidirectional overrides and isolates, line separators, invisible operators, BOM.
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
    """Return text for one line of a terminal or a table: every control character is escaped, also line breaks."""
    return _UNSAFE_LINE.sub(_escape, str(text))


def block(text: str) -> str:
    """Return text in which all control characters but tabs and line feeds are escaped."""
    return _UNSAFE_BLOCK.sub(_escape, text)


def json_safe(text: str) -> str:
    """Return JSON text in which the characters that a terminal would interpret are escaped, in the way of JSON."""
    return _UNSAFE_BLOCK.sub(lambda match: f"\\u{ord(match.group()):04x}", text)
