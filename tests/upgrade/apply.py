"""Applies the migrations of a folder to a database: python -m tests.upgrade.apply URL FOLDER."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from kube_job_runner.adapters.postgres import schema

if __name__ == "__main__":
    asyncio.run(schema.migrate(sys.argv[1], migrations=schema.known(Path(sys.argv[2]))))
