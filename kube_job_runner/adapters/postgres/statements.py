"""The SQL of this adapter: named statements in .sql files, each with one line that says what it is for.

A statement is never put together from values. Where a list has filters, `listing.py` joins fixed fragments.
"""

from __future__ import annotations

import functools
import re
from importlib import resources

from kube_job_runner.adapters.postgres import columns, rows

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


@functools.cache
def load(file: str) -> dict[str, str]:
    """Return the statements of `queries/<file>.sql` by name."""
    text = resources.files("kube_job_runner.adapters.postgres").joinpath("queries", f"{file}.sql").read_text("utf-8")
    parts = _NAME.split(text)
    return {name: columns.expand(body.strip(), rows.SETS) for name, body in zip(parts[1::2], parts[2::2], strict=True)}
