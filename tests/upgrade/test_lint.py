"""The lint refuses what breaks older programs, and lets pass what only adds."""

from __future__ import annotations

import pytest

from kube_job_runner.adapters.postgres.schema import Migration
from tests.upgrade.lint import lint


def faults(sql: str, *, first: str = "-- compatible\n", wrong_tag: str | None = None) -> list[str]:
    made = Migration(number=9, name="made_up", sql=first + sql)
    return [str(fault) for fault in lint([made], unused_since=lambda _: wrong_tag)]


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ("DROP TABLE jobs;", "drops what programs may use"),
        ("drop function f(integer);", "drops what programs may use"),
        ("ALTER TABLE jobs DROP COLUMN reason;", "drops a column"),
        ("ALTER TABLE jobs DROP reason;", "drops a column"),
        ("ALTER TABLE jobs ADD COLUMN a int, DROP COLUMN reason;", "drops a column"),
        ("ALTER TABLE jobs RENAME COLUMN reason TO why;", "renames"),
        ("ALTER TABLE jobs\n  RENAME TO tasks;", "renames"),
        ("ALTER TABLE jobs ALTER COLUMN attempt TYPE bigint;", "changes a type"),
        ("ALTER TABLE jobs ALTER attempt SET DATA TYPE bigint;", "changes a type"),
        ("ALTER TYPE mood RENAME VALUE 'a' TO 'b';", "changes a type"),
        ("ALTER TABLE jobs ALTER COLUMN exit_code SET NOT NULL;", "forbids NULL"),
        ("ALTER TABLE jobs ALTER COLUMN reason DROP DEFAULT;", "removes a default"),
        ("ALTER TABLE jobs ADD COLUMN a text NOT NULL;", "cannot fill: ADD COLUMN A TEXT NOT NULL"),
        ("ALTER TABLE jobs ADD COLUMN a int DEFAULT 1, ADD b text NOT NULL;", "cannot fill: ADD B TEXT NOT NULL"),
        ("ALTER TABLE jobs ADD COLUMN a uuid DEFAULT gen_random_uuid();", "rewrites the table"),
        ("ALTER TABLE jobs ADD CONSTRAINT c CHECK (attempt < 9);", "adds a constraint"),
        ("ALTER TABLE jobs ADD UNIQUE (name);", "adds a constraint"),
        ("CREATE INDEX jobs_by_x ON jobs (name);", "under a lock that stops all writers"),
        ("CREATE UNIQUE INDEX CONCURRENTLY jobs_by_x ON jobs (name);", "makes unique"),
        ("TRUNCATE messages;", "removes all rows"),
        ("LOCK TABLE jobs;", "locks out everybody"),
        ("DO $$ BEGIN ALTER TABLE jobs DROP COLUMN reason; END $$;", "drops a column"),
        ("DO $$ BEGIN EXECUTE 'ALTER TABLE jobs DROP COLUMN reason'; END $$;", "drops a column"),
    ],
)
def test_what_breaks_older_programs_is_refused(sql: str, says: str) -> None:
    found = faults(sql)
    assert any(says in one for one in found), found
    assert all(one.startswith("0009_made_up: ") and "; " in one for one in found)


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TABLE new (n int NOT NULL, m int UNIQUE); CREATE INDEX ON new (n); ALTER TABLE new ALTER n SET NOT NULL;",
        "ALTER TABLE jobs ADD COLUMN a text NOT NULL DEFAULT '', ADD COLUMN b int;",
        "ALTER TABLE jobs ADD COLUMN a timestamptz DEFAULT now();",
        "CREATE INDEX CONCURRENTLY IF NOT EXISTS i ON jobs (name);\nDROP INDEX CONCURRENTLY IF EXISTS j;",
        "ALTER TABLE jobs ALTER COLUMN exit_code DROP NOT NULL;",
        "ALTER TABLE jobs DROP CONSTRAINT c;",
        "-- DROP TABLE jobs;\n/* ALTER TABLE jobs RENAME TO x; */ INSERT INTO t VALUES ('a; RENAME');",
        "CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$ BEGIN DROP TABLE x; END $$;",
    ],
)
def test_what_only_adds_passes(sql: str) -> None:
    assert faults(sql) == []


def test_a_migration_must_say_that_older_programs_go_on() -> None:
    [found] = faults("CREATE TABLE new (n int);", first="-- a new table\n")
    assert "does not say `-- compatible`" in found


def test_a_contract_may_remove_what_no_program_uses_since_a_tag() -> None:
    sql = "-- contract since v1.2.0: jobs.reason\nALTER TABLE jobs DROP COLUMN reason;"
    assert faults(sql) == []
    [found] = faults(sql, wrong_tag="the last release, v1.1.0, does not contain such a tag")
    assert "contract since v1.2.0: the last release, v1.1.0, does not contain" in found
    [locks] = faults(sql + " CREATE INDEX i ON jobs (name);")
    assert "stops all writers" in locks
