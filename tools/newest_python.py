"""Prints the newest Python of this machine that is newer than the one that runs this: `python -m tools.newest_python`.

Exit code 1: there is none. It looks at the PATH, at pyenv's versions and at those that uv installed. Nothing is downloaded.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

_VERSION = "import sys; print(*sys.version_info[:2], sys.version_info.releaselevel)"


def candidates() -> Iterator[Path]:
    """Yield programs that may be a newer Python."""
    for minor in range(sys.version_info.minor + 1, sys.version_info.minor + 10):
        found = shutil.which(f"python3.{minor}")
        if found:
            yield Path(found)
    home = Path.home()
    roots = (Path(os.environ.get("PYENV_ROOT", home / ".pyenv")) / "versions", home / ".local/share/uv/python")
    for root in roots:
        yield from root.glob("*/bin/python3.[0-9]*")


def version(python: Path) -> tuple[int, int] | None:
    """Return the version of a Python that works and is released, or None. A shim of pyenv may lead nowhere."""
    if not re.fullmatch(r"python3\.\d+", python.name):
        return None
    try:
        answer = subprocess.run([str(python), "-c", _VERSION], capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    major, minor, level = answer.stdout.split()
    return (int(major), int(minor)) if level == "final" else None


def main() -> int:
    """Print the path of the newest one."""
    usable = {found: python for python in candidates() if (found := version(python)) is not None}
    newer = {found: python for found, python in usable.items() if found > sys.version_info[:2]}
    if not newer:
        sys.stderr.write(f"no Python newer than {sys.version_info.major}.{sys.version_info.minor} here\n")
        return 1
    sys.stdout.write(f"{newer[max(newer)]}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
