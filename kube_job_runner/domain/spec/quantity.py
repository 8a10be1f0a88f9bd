"""Kubernetes quantities (`500m`, `1.5Gi`) as numbers, and bytes back as a quantity.

Source: apimachinery/pkg/api/resource/quantity.go. Only the notation of `field_types.Quantity` is supported.
"""

import re
from fractions import Fraction

_PARTS = re.compile(r"([0-9]+(?:\.[0-9]+)?)([A-Za-z]*)")
_UNITS: dict[str, Fraction] = {
    "m": Fraction(1, 1000),
    "": Fraction(1),
    **{unit: Fraction(1000**power) for power, unit in enumerate(("k", "M", "G", "T", "P"), start=1)},
    **{unit: Fraction(1024**power) for power, unit in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi"), start=1)},
}
_MEBIBYTE = 1024**2


def parse(text: str) -> Fraction:
    """Return the number that a quantity stands for (for memory: bytes).

    Raises:
        ValueError: it is not a quantity.
    """
    match = _PARTS.fullmatch(text)
    if match is None or match[2] not in _UNITS:
        raise ValueError(f"{text!r} is not a quantity")
    return Fraction(match[1]) * _UNITS[match[2]]


def mebibytes(size_bytes: Fraction) -> str:
    """Return a size as a quantity in whole mebibytes, rounded up: `1536Mi`."""
    return f"{-(-size_bytes // _MEBIBYTE)}Mi"
