"""Runs the tests of older code on the newer schema, and all checks together: python -m tests.upgrade."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec

from tests.support.postgres import new_folder
from tests.upgrade.history import Base, NoHistoryError, Repository
from tests.upgrade.lint import lint

ROOT = Path(__file__).resolve().parents[2]
TESTS = (
    "tests/contract/**/test_*store*.py",
    "tests/contract/**/test_*reader*.py",
    "tests/contract/**/test_*admission*.py",
    "tests/contract/**/test_*health*.py",
    "tests/integration/services/**/test_*.py",
    "tests/integration/web/**/test_with_postgres.py",
)
"""Which of its tests the older code must pass: all that it says to the database, and the way of a job from submit to end.

These are patterns, because the older code may keep its tests in other folders and under older names than this checkout.
"""

_OURS = ("KJR_", "PYTEST_", "COV_", "COVERAGE_")


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How the tests of older code ended, and the end of what they printed."""

    passed: bool
    output: str


def found(root: Path, tests: tuple[str, ...] = TESTS) -> list[str]:
    """Return the test modules of a checkout that these patterns name, as paths below it."""
    return sorted({str(path.relative_to(root)) for pattern in tests for path in root.glob(pattern)})


def run_old_code(repository: Repository, base: Base, *, migrations: Path, tests: tuple[str, ...] = TESTS) -> Outcome:
    """Run tests of the base's code, in its own files, on a database with these migrations."""
    folder = new_folder()
    try:
        old = folder / "old"
        old.mkdir()
        repository.export(base.commit, old)
        plugins = folder / "plugins"
        plugins.mkdir()
        shutil.copy(Path(__file__).with_name("newer_schema.py"), plugins)
        there = found(old, tests)
        if not there:
            return Outcome(
                passed=False, output=f"the code of {base.commit[:9]} has none of the tests {', '.join(tests)}"
            )
        environ = {key: value for key, value in os.environ.items() if not key.startswith(_OURS)}
        environ |= {"UPGRADE_OLD": str(old), "UPGRADE_NEW": str(ROOT), "UPGRADE_MIGRATIONS": str(migrations)}
        environ |= {"PYTHONPATH": os.pathsep.join([str(old), str(plugins)]), "TMPDIR": str(folder)}
        plugins_used = ["-p", "newer_schema", "-p", "no:cacheprovider", "-p", "no:schemathesis"]
        options = [*plugins_used, "-n0", "-q", "--tb=short", "-m", "not cluster"]
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *options, *there],
            cwd=old,
            env=environ,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        return Outcome(passed=done.returncode == 0, output=done.stdout[-6000:])
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def static_faults(repository: Repository, base: Base) -> list[str]:
    """Return what the lint says of the migrations that the base does not have."""
    new = repository.new_migrations(base)
    faults = lint(new, unused_since=functools.partial(repository.unused_since, base))
    return [str(fault) for fault in [*repository.edited(base), *faults]]


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def main() -> int:
    """Check the checkout; say against which code."""
    repository = Repository(ROOT)
    try:
        base = repository.base()
    except NoHistoryError as error:
        _say(f"not checked: {error}")
        return 1
    new = [f"{migration.number:04}_{migration.name}" for migration in repository.new_migrations(base)]
    _say(f"older code: {base.commit[:9]} ({base.why}); migrations since: {', '.join(new) or 'none'}")
    faults = static_faults(repository, base)
    for fault in faults:
        _say(fault)
    outcome = run_old_code(repository, base, migrations=repository.migrations)
    _say(outcome.output)
    return 0 if outcome.passed and not faults else 1
