"""A pytest plugin for the tests of older code: every database that they migrate gets the newer migrations too.

The older code is on its path, so it imports nothing else of this project. The newer code applies the newer migrations in its
own process, as an upgrade does.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import kube_job_runner
from kube_job_runner.adapters.postgres import schema

OLD, NEW, MIGRATIONS = (os.environ[f"UPGRADE_{name}"] for name in ("OLD", "NEW", "MIGRATIONS"))
_migrate = schema.migrate

if not Path(kube_job_runner.__file__).is_relative_to(OLD):
    raise RuntimeError(f"the tests would run {kube_job_runner.__file__}, which is not the older code in {OLD}")


async def migrate(url: str, **options: Any) -> list[str]:
    """Migrate as the older code does; then as the newer."""
    done = await _migrate(url, **options)
    if not options:
        _upgrade(url)
    return done


def _upgrade(url: str) -> None:
    command = [sys.executable, "-m", "tests.upgrade.apply", url, MIGRATIONS]
    subprocess.run(command, cwd=NEW, env={**os.environ, "PYTHONPATH": NEW}, check=True)


schema.migrate = migrate
