"""The code that a new schema must not break: the last tag or, before the first tag, the commit before the newest migration."""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path

import msgspec

from kube_job_runner.adapters.postgres import schema
from kube_job_runner.adapters.postgres.schema import Migration
from tests.upgrade.lint import Fault

MIGRATIONS = "kube_job_runner/adapters/postgres/migrations"


class NoHistoryError(Exception):
    """There is no older code; the message says why."""


class Base(msgspec.Struct, frozen=True, kw_only=True):
    """The code to compare with: a commit, and in words why that one."""

    commit: str
    why: str
    tag: str | None = None


class Repository:
    """A git checkout."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.migrations = root / MIGRATIONS

    def git(self, *arguments: str) -> str:
        """Return what a git command prints."""
        done = subprocess.run(["git", "-C", str(self.root), *arguments], capture_output=True, text=True)
        if done.returncode != 0:
            raise NoHistoryError(f"git {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout.strip()

    def _last_tag(self, commit: str) -> str | None:
        try:
            return self.git("describe", "--tags", "--abbrev=0", "--match", "v[0-9]*", commit)
        except NoHistoryError:
            return None

    def base(self) -> Base:
        """Return the code that must still work with the schema of the checkout.

        Raises:
            NoHistoryError: this is no git checkout, or it does not go back to that code.
        """
        head = self.git("rev-parse", "HEAD")
        unsaved = bool(self.git("status", "--porcelain", "--", MIGRATIONS))
        tag = self._last_tag("HEAD")
        if tag is not None and self.git("rev-list", "-n1", tag) == head and not unsaved:
            tag = self._last_tag("HEAD^")  # this is a release: compared with the one before
        if tag is not None:
            return Base(commit=self.git("rev-list", "-n1", tag), why=f"the last tag, {tag}", tag=tag)
        if unsaved:
            return Base(commit=head, why="no tag yet: the last commit, because there are uncommitted migrations")
        newest = self.git("log", "-1", "--diff-filter=A", "--no-renames", "--format=%H", "--", f"{MIGRATIONS}/*.sql")
        if not newest:
            raise NoHistoryError("no commit adds a migration")
        try:
            before = self.git("rev-parse", "--verify", "--quiet", f"{newest}^")
        except NoHistoryError:
            raise NoHistoryError(f"no commit before {newest[:9]}: fetch the whole history and its tags") from None
        return Base(commit=before, why="no tag yet: the commit before the newest migration")

    def migrations_of(self, commit: str) -> dict[str, str]:
        """Return the migrations of a commit, texts by file name."""
        names = self.git("ls-tree", "--name-only", commit, f"{MIGRATIONS}/").split()
        return {Path(name).name: self.git("show", f"{commit}:{name}") for name in names if name.endswith(".sql")}

    def new_migrations(self, base: Base) -> list[Migration]:
        """Return the migrations of the checkout that the base does not have."""
        old = {int(name[:4]) for name in self.migrations_of(base.commit)}
        return [migration for migration in schema.known(self.migrations) if migration.number not in old]

    def edited(self, base: Base) -> list[Fault]:
        """Return the migrations of the last tag that were changed or removed since: they may have been applied anywhere."""
        if base.tag is None:
            return []
        return [
            Fault(migration=name[:-4], what="was changed since it was released", remedy="write a new migration instead")
            for name, text in self.migrations_of(base.commit).items()
            if not (self.migrations / name).is_file() or (self.migrations / name).read_text().strip() != text
        ]

    def unused_since(self, base: Base, tag: str) -> str | None:
        """Return what is wrong with the tag of a contract, or None. It must be a release, and part of the last release."""
        if base.tag is None:
            return "there is no release yet"
        try:
            self.git("rev-parse", "--verify", "--quiet", f"refs/tags/{tag}")
            self.git("merge-base", "--is-ancestor", tag, base.tag)
        except NoHistoryError:
            return f"the last release, {base.tag}, does not contain such a tag"
        return None

    def export(self, commit: str, folder: Path) -> None:
        """Write the files of a commit into a folder."""
        done = subprocess.run(["git", "-C", str(self.root), "archive", commit], capture_output=True, check=True)
        with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
            archive.extractall(folder, filter="data")
