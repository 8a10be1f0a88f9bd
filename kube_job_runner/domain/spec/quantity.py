"""Kubernetes quantities (`500m`, `1.5Gi`) as numbers, and bytes back as a quantity.

Source: apimachinery/pkg/api/resource/quantity.go. Only the notation of `field_types.Quantity` is supported.
"""

import functools
import re
from fractions import Fraction

_PARTS = re.compile(r"\+?([0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE]([+-]?[0-9]{1,2})|([A-Za-z]*))")
_UNITS: dict[str, Fraction] = {
    **{unit: Fraction(1, 1000**power) for power, unit in enumerate(("m", "u", "n"), start=1)},
    "": Fraction(1),
    **{unit: Fraction(1000**power) for power, unit in enumerate(("k", "M", "G", "T", "P", "E"), start=1)},
    **{unit: Fraction(1024**power) for power, unit in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), start=1)},
}
_MEBIBYTE = 1024**2
_LEAST_BYTES, _MOST_BYTES = _MEBIBYTE, 1024**5
_LEAST_CPUS, _MOST_CPUS = Fraction(1, 1000), 4096  # the API server refuses a finer CPU than 1m


def parse(text: str) -> Fraction:
    """Return the number that a quantity stands for (for memory: bytes).

    Raises:
        ValueError: it is not a quantity.
    """
    match = _PARTS.fullmatch(text)
    if match is None or (match[2] is None and match[3] not in _UNITS):
        raise ValueError(f"{text!r} is not a quantity")
    number = Fraction(match[1])
    return number * Fraction(10) ** int(match[2]) if match[2] else number * _UNITS[match[3]]


@functools.lru_cache(maxsize=1024)  # the same few quantities come in every submit
def size_fault(text: str) -> str:
    """Return what is wrong with a size of memory or disk that nobody can mean; "" if nothing is.

    Kubernetes accepts `512m` for memory: half a byte. No container starts with so little.
    """
    size_bytes = parse(text)
    if _LEAST_BYTES <= size_bytes <= _MOST_BYTES:
        return ""
    is_now = f"{text!r} is {_plain(size_bytes)} bytes"
    if size_bytes > _MOST_BYTES:
        return f"{is_now}; the most is 1Pi"
    if size_bytes == 0:
        return f"{is_now}; leave the field out for no limit"
    number = text.lstrip("+").rstrip("".join(_UNITS))
    meant = f"{number}Mi" if number.isdecimal() else "64Mi"
    return f"{is_now}; the least is 1Mi; did you mean {meant}?"


@functools.lru_cache(maxsize=1024)
def cpu_fault(text: str) -> str:
    """Return what is wrong with an amount of CPU that nobody can mean; "" if nothing is. `500Mi` is 524,288,000 CPUs."""
    cpus = parse(text)
    if _LEAST_CPUS <= cpus <= _MOST_CPUS:
        return ""
    is_now = f"{text!r} is {_plain(cpus)} CPUs"
    if cpus == 0:
        return f"{is_now}; leave the field out to reserve none"
    if cpus < _LEAST_CPUS:
        return f"{is_now}; the least is 1m, a thousandth of a CPU"
    number = text.lstrip("+").rstrip("".join(_UNITS))
    meant = f"; did you mean {number}m?" if number.isdecimal() and int(number) <= _MOST_CPUS * 1000 else ""
    return f"{is_now}; the most is {_MOST_CPUS}{meant}"


def _plain(number: Fraction) -> str:
    return f"{int(number):,}" if number.denominator == 1 else f"{float(number):g}"


def mebibytes(size_bytes: Fraction) -> str:
    """Return a size as a quantity in whole mebibytes, rounded up: `1536Mi`."""
    return f"{-(-size_bytes // _MEBIBYTE)}Mi"
