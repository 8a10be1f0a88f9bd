"""The code of the last release on the schema of this checkout; and the check notices a schema that breaks it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.upgrade.check import ROOT, TESTS, found, run_old_code, static_faults
from tests.upgrade.history import MIGRATIONS, Base, NoHistoryError, Repository

READER = ("tests/contract/**/test_*reader*.py",)


@pytest.fixture(scope="module")
def repository() -> Repository:
    """This checkout. A source package has no history, and nothing to check."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: there is no older code to run")
    repository = Repository(ROOT)
    try:
        repository.base()
    except NoHistoryError as error:
        pytest.skip(f"the history is not here: {error}")
    return repository


def test_new_migrations_pass_the_lint(repository: Repository) -> None:
    assert static_faults(repository, repository.base()) == []


@pytest.mark.timeout(400)
def test_the_last_release_works_on_the_new_schema(repository: Repository) -> None:
    base = repository.base()
    outcome = run_old_code(repository, base, migrations=repository.migrations)
    assert outcome.passed, f"the code of {base.commit[:9]} ({base.why}) does not:\n{outcome.output}"


def test_a_migration_that_breaks_it_is_seen(repository: Repository, tmp_path: Path) -> None:
    """It says that it is compatible, and is not."""
    migrations = tmp_path / "migrations"
    shutil.copytree(repository.migrations, migrations)
    (migrations / "9999_breaking.sql").write_text(
        "-- compatible\nALTER TABLE jobs RENAME COLUMN priority TO urgency;\n"
    )
    outcome = run_old_code(repository, repository.base(), migrations=migrations, tests=READER)
    assert not outcome.passed
    assert "priority" in outcome.output


def test_tests_that_are_not_there_are_no_success(repository: Repository) -> None:
    outcome = run_old_code(repository, repository.base(), migrations=repository.migrations, tests=("tests/none.py",))
    assert not outcome.passed
    assert "has none of the tests" in outcome.output


@pytest.mark.parametrize("pattern", TESTS)
def test_each_pattern_names_tests_of_this_checkout(pattern: str) -> None:
    assert found(ROOT, (pattern,))


class Made:
    """A repository made up for a test."""

    def __init__(self, root: Path) -> None:
        self.repository = Repository(root)
        self.repository.migrations.mkdir(parents=True)
        self.run("init", "-q", "-b", "main")

    def run(self, *arguments: str) -> str:
        who = ("-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false")
        done = subprocess.run(
            ["git", "-C", str(self.repository.root), *who, *arguments], check=True, capture_output=True
        )
        return done.stdout.decode().strip()

    def write(self, name: str, sql: str) -> None:
        (self.repository.migrations / name).write_text(sql)

    def commit(self, text: str, tag: str | None = None) -> str:
        self.run("add", "-A")
        self.run("commit", "-q", "--allow-empty", "-m", text)
        if tag is not None:
            self.run("tag", tag)
        return self.run("rev-parse", "HEAD")


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """An empty repository."""
    return Made(tmp_path)


def test_without_a_tag_it_is_the_commit_before_the_newest_migration(made: Made) -> None:
    with pytest.raises(NoHistoryError):
        made.repository.base()
    made.write("0001_first.sql", "-- compatible\nCREATE TABLE a (n int);")
    first = made.commit("first")
    with pytest.raises(NoHistoryError, match="fetch the whole history"):
        made.repository.base()
    made.commit("nothing")
    made.write("0002_second.sql", "-- compatible\nALTER TABLE a ADD m int;")
    assert made.repository.base().why == "no tag yet: the last commit, because there are uncommitted migrations"
    made.commit("second")
    made.commit("later")
    base = made.repository.base()
    assert base.why == "no tag yet: the commit before the newest migration"
    assert base.commit != first
    assert [migration.name for migration in made.repository.new_migrations(base)] == ["second"]


def test_with_tags_it_is_the_last_one_before_what_is_checked(made: Made) -> None:
    made.write("0001_first.sql", "-- compatible\nCREATE TABLE a (n int, old int);")
    made.commit("first", tag="v1.0.0")
    made.write("0002_second.sql", "-- compatible\nALTER TABLE a ADD m int;")
    made.commit("second", tag="v1.1.0")
    assert made.repository.base().tag == "v1.0.0", "a release is compared with the one before"
    made.commit("later", tag="not-a-release")
    assert made.repository.base().tag == "v1.1.0"
    assert static_faults(made.repository, made.repository.base()) == []


def test_breaking_edited_and_contracting_migrations_in_a_repository(made: Made) -> None:
    made.write("0001_first.sql", "-- compatible\nCREATE TABLE a (n int, old int);\n")
    made.commit("first", tag="v1.0.0")
    drop = "ALTER TABLE a DROP COLUMN old;\n"
    base = Base(commit=made.run("rev-parse", "v1.0.0"), why="", tag="v1.0.0")
    made.write("0002_breaking.sql", f"-- compatible\n{drop}")
    [fault] = static_faults(made.repository, base)
    assert "0002_breaking: drops a column: ALTER TABLE A DROP COLUMN OLD" in fault
    made.write("0002_breaking.sql", f"-- compatible\n-- contract since v1.0.0: a.old\n{drop}")
    assert static_faults(made.repository, base) == []
    made.write("0002_breaking.sql", f"-- compatible\n-- contract since v1.1.0: a.old\n{drop}")
    [fault] = static_faults(made.repository, base)
    assert "the last release, v1.0.0, does not contain such a tag" in fault
    (made.repository.migrations / "0002_breaking.sql").unlink()
    made.write("0001_first.sql", "-- compatible\nCREATE TABLE a (n int);\n")
    [fault] = static_faults(made.repository, base)
    assert "0001_first: was changed since it was released" in fault
    none = Base(commit=base.commit, why="")
    assert made.repository.unused_since(none, "v1.0.0") == "there is no release yet"


def test_the_paths_are_those_of_this_repository() -> None:
    assert list((ROOT / MIGRATIONS).glob("0001_*.sql"))
