"""`kjr migrate`: migrations, roles, and waiting for a database that starts later."""

from __future__ import annotations

import pytest

from kube_job_runner.bootstrap import commands
from kube_job_runner.cli import main
from kube_job_runner.cli.commands import migrate
from kube_job_runner.domain.errors import ConfigurationError, DatabaseUnavailable
from tests.unit.cli.conftest import Kjr
from tests.unit.cli.stand_in import Bootstrap


def test_migrate_names_what_it_applied(kjr: Kjr, bootstrap: Bootstrap) -> None:
    result = kjr("migrate")
    assert result.text == "0001_first\n"
    assert "1 migrations applied" in result.err


def test_migrate_grants_the_roles_afterwards(kjr: Kjr, bootstrap: Bootstrap, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KJR_DATABASE_ROLE_PREFIX", "team_")
    result = kjr("migrate", "--roles")
    assert [what[0] for what in bootstrap.asked] == ["migrate", "grant"]
    assert bootstrap.asked[1] == ("grant", "team_")
    assert "granted kjr_web_server, kjr_sweeper" in result.err


def test_migrate_prints_the_roles_and_changes_nothing(kjr: Kjr, bootstrap: Bootstrap) -> None:
    assert kjr("migrate", "--roles", "--print").text == "BEGIN;\n"
    assert bootstrap.asked == [("script", "kjr_")]
    result = kjr("migrate", "--print")
    assert result.code == 2
    assert "--print needs --roles" in result.err


class _Clock:
    now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> _Clock:
    made = _Clock()
    monkeypatch.setattr(migrate, "time", made)
    monkeypatch.setenv("KJR_DATABASE_URL", "postgresql://h/d")
    return made


def test_it_waits_for_a_database_and_says_so_once(
    clock: _Clock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def migrated(_: object) -> list[str]:
        if clock.now < 30:
            raise DatabaseUnavailable("connection refused")
        return ["0001_one"]

    monkeypatch.setattr(commands, "migrate", migrated)
    assert main.run(["migrate", "--wait", "1m"]) == 0
    captured = capsys.readouterr()
    assert captured.out == "0001_one\n"
    assert captured.err.count("waiting for the database: connection refused") == 1


def test_it_gives_up_when_the_time_is_over(clock: _Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_: object) -> list[str]:
        raise DatabaseUnavailable("connection refused")

    monkeypatch.setattr(commands, "migrate", refused)
    assert main.run(["migrate", "--wait", "10s"]) == 1
    assert clock.now <= 10
    clock.now = 0.0
    assert main.run(["migrate"]) == 1
    assert clock.now == 0, "without --wait it does not wait"


def test_it_does_not_wait_for_what_a_retry_cannot_fix(clock: _Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(_: object) -> list[str]:
        raise ConfigurationError("the schema is newer")

    monkeypatch.setattr(commands, "migrate", wrong)
    assert main.run(["migrate", "--wait", "1m"]) == 2
    assert clock.now == 0


def test_a_wait_that_is_no_duration_is_a_usage_error(clock: _Clock, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["migrate", "--wait", "soon"]) == 2
    assert "--wait" in capsys.readouterr().err
