"""The folders for builds and running clusters: outside the checkout, so that git and editors stay fast."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def cache_dir() -> Path:
    """`$KJR_CACHE_DIR`, else `kube-job-runner` below `$XDG_CACHE_HOME` or `~/.cache`."""
    if own := os.environ.get("KJR_CACHE_DIR"):
        return Path(own).absolute()
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base).absolute() / "kube-job-runner"


def builds_dir() -> Path:
    return cache_dir() / "testbed"


def runs_dir() -> Path:
    return cache_dir() / "run"


@contextmanager
def file_lock(path: Path, *, on_wait: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Holds an exclusive lock on `path`; calls `on_wait` once when another process has it.

    The kernel drops the lock with its holder, so a killed process leaves no stale lock.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            on_wait()
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
