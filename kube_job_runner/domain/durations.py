"""Durations such as `90s`, `10m`, `1h30m` and `2d`, and seconds as people read them.

The grammar is the same in the API, in spec files and in options of the CLI.
"""

import re

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_PART = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,6})?)(ms|s|m|h|d)")
_WHOLE = re.compile(rf"(?:{_PART.pattern})+")
_PLAIN = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,6})?")
PATTERN = rf"^({_WHOLE.pattern}|{_PLAIN.pattern})$(?!\n)"
"""The grammar as a regular expression for the API document."""


def parse(text: str) -> float:
    """Return a duration in seconds. A plain number is seconds.

    Raises:
        ValueError: the text is not a duration.
    """
    text = text.strip().lower()
    if _PLAIN.fullmatch(text):
        return float(text)
    if not _WHOLE.fullmatch(text):
        raise ValueError(f"{text!r} is not a duration; write it like 90s, 10m, 1h30m or 2d")
    return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))


def show(seconds: float) -> str:
    """Return a duration with at most two units: `0.4s`, `14s`, `2m05s`, `3h10m`, `2d4h`."""
    seconds = max(0.0, seconds)
    if seconds < 9.95:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 86_400:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 86_400}d{whole % 86_400 // 3600}h"
