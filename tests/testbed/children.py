"""Python programs that tests start and kill."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import testbed

ROOT = Path(testbed.__file__).parents[1]


@contextmanager
def python(code: str) -> Iterator[IO[str]]:
    """Runs `code` and gives its standard output; at the end it dies by SIGKILL, whatever it is doing."""
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        try:
            yield child.stdout
        finally:
            child.kill()
