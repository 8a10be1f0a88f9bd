"""Builds `promcheck`, which checks alert rules, their unit tests and dashboards with Prometheus's own engine.

Built from a Go module once per content of the sources and kept in the cache, as the cluster's programs are; half a minute the
first time.
"""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from testbed import build, cache

SOURCES = Path(__file__).resolve().parent / "promcheck"
_FLAGS = ("-trimpath", "-tags=netgo,osusergo", "-gcflags=all=-dwarf=false", "-ldflags=-s -w")


def ensure_built() -> Path:
    """Returns the program; builds it when the cache has none.

    Raises build.GoMissing or build.BuildError. Two callers never build twice: the second waits for the first.
    """
    folder = cache.cache_dir() / "promcheck"
    program = folder / build.cache_key(SOURCES)
    if program.exists():
        return program
    go = shutil.which("go")
    if go is None:
        raise build.GoMissing
    with cache.file_lock(folder / f"{program.name}.lock"):
        if not program.exists():
            _build(go, program)
    return program


def _build(go: str, program: Path) -> None:
    environment = os.environ | {"CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly", "GOWORK": "off"}
    with tempfile.TemporaryDirectory(prefix=".build-", dir=program.parent) as work:
        made = Path(work) / "promcheck"
        done = subprocess.run(
            [go, "build", *_FLAGS, "-o", str(made), "."],
            cwd=SOURCES,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise build.BuildError(f"go build of promcheck ended with {done.returncode}:\n{done.stderr[-4000:]}")
        made.rename(program)  # whole or not at all
