"""Check that every requirement of pyproject.toml is met by the version pinned in the hashed requirement files."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent


def pins(name: str) -> dict[str, str]:
    """Return the pinned version of each package in a requirement file."""
    text = (ROOT / "requirements" / name).read_text()
    found = re.finditer(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)", text, re.MULTILINE)
    return {canonicalize_name(pin[1]): pin[2] for pin in found}


def unmet(requirements: list[str], pinned: dict[str, str], file: str) -> list[str]:
    """Return one line for each requirement that the pins do not meet."""
    faults = []
    for text in requirements:
        requirement = Requirement(text)
        version = pinned.get(canonicalize_name(requirement.name))
        if version is None:
            faults.append(f"{file}: {requirement.name} is missing")
        elif not requirement.specifier.contains(version, prereleases=True):
            faults.append(f"{file}: {requirement.name}=={version} does not meet {requirement.specifier}")
    return faults


def main() -> int:
    """Print what is out of date; exit code 1 when anything is."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    groups = project["dependency-groups"]
    faults = unmet(project["project"]["dependencies"], pins("runtime.txt"), "runtime.txt")
    faults += unmet(project["project"]["dependencies"] + groups["dev"], pins("dev.txt"), "dev.txt")
    faults += unmet(groups["build"], pins("build.txt"), "build.txt")
    for fault in faults:
        print(fault, "(run `make lock`)", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
