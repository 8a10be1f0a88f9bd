"""Named statements: the SQL of this adapter, from the files in `queries/`.

The lists of columns in a statement are made from `rows`; see `columns.expand`. No statement contains values. Where a list of
jobs has filters, `stores/job_lists.py` joins fixed pieces.
"""

import functools
import re
from importlib import resources

from kube_job_runner.adapters.postgres import columns, rows

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


@functools.cache
def load(file: str) -> dict[str, str]:
    """Return the statements of `queries/<file>.sql` by name, as they are sent."""
    text = resources.files("kube_job_runner.adapters.postgres").joinpath("queries", f"{file}.sql").read_text("utf-8")
    parts = _NAME.split(text)
    return {name: columns.expand(body.strip(), rows.SETS) for name, body in zip(parts[1::2], parts[2::2], strict=True)}
