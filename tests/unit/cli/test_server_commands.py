"""The commands that start the server: what they pass on to it, and how its refusals reach a person."""

from __future__ import annotations

import sys
import types
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import kube_job_runner.bootstrap
from kube_job_runner import ports
from kube_job_runner.domain.errors import ConfigurationError, DatabaseUnavailable
from kube_job_runner.settings import Settings
from tests.unit.cli.conftest import Kjr


class Bootstrap(types.ModuleType):
    """Stands where the composition root is and keeps what it was asked for."""

    def __init__(self) -> None:
        super().__init__("kube_job_runner.bootstrap.commands")
        self.asked: list[Any] = []
        self.error: Exception | None = None

    def _note(self, *what: Any) -> None:
        self.asked.append(what)
        if self.error is not None:
            raise self.error

    def up(self, settings: Settings, *, on_ready: Any) -> int:
        """Note it."""
        self._note("up", settings)
        on_ready("http://127.0.0.1:4711", "kjr_abcdefgh_secretsecret")
        return 0

    def serve(self, settings: Settings, components: list[str]) -> int:
        """Note it."""
        self._note("serve", settings, components)
        return 1

    def migrate(self, settings: Settings) -> list[str]:
        """Note it."""
        self._note("migrate", settings)
        return ["0001_first"]

    def grant_roles(self, settings: Settings) -> list[str]:
        """Note it."""
        self._note("grant", settings.database.role_prefix)
        return ["kjr_web_server", "kjr_sweeper"]

    def roles_script(self, settings: Settings) -> str:
        """Note it."""
        self._note("script", settings.database.role_prefix)
        return "BEGIN;\n"

    queue: Any = None

    def init_queue(self, settings: Settings) -> list[str] | None:
        """Note it."""
        self._note("init_queue", settings.queue.address)
        found: list[str] | None = self.queue
        return found

    def check_queue(self, settings: Settings) -> tuple[list[str], ports.QueueCounts] | None:
        """Note it."""
        self._note("check_queue", settings.queue.address)
        found: tuple[list[str], ports.QueueCounts] | None = self.queue
        return found

    def create_token(self, settings: Settings, name: str) -> str:
        """Note it."""
        self._note("create", name)
        return "kjr_new"

    def list_tokens(self, settings: Settings) -> list[ports.Token]:
        """Note it."""
        self._note("list")
        return [ports.Token(name="ci\x1b", token_hash=b"h", prefix="abcd", created_at=datetime(2026, 1, 1, tzinfo=UTC))]

    def revoke_token(self, settings: Settings, name: str) -> int:
        """Note it."""
        self._note("revoke", name)
        return 0 if name == "unknown" else 2


@pytest.fixture
def bootstrap(monkeypatch: pytest.MonkeyPatch) -> Bootstrap:
    """Return the stand-in of the composition root."""
    module = Bootstrap()
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(kube_job_runner.bootstrap, "commands", module, raising=False)
    return module


def test_up_takes_the_local_cluster_unless_told_otherwise(
    kjr: Kjr, bootstrap: Bootstrap, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert kjr("up", "--port", "0", "--host", "::1", "--data", str(tmp_path / "d")).code == 0
    settings = bootstrap.asked[0][1]
    assert (settings.cluster.kind, settings.web.port, settings.web.host) == ("local", 0, "::1")
    assert settings.process.data_dir == tmp_path / "d"
    monkeypatch.setenv("KJR_CLUSTER", "simulated")
    monkeypatch.setenv("KJR_PORT", "99")
    kjr("up")
    assert (bootstrap.asked[1][1].cluster.kind, bootstrap.asked[1][1].web.port) == ("simulated", 99)
    kjr("up", "--cluster", "kubernetes")
    assert bootstrap.asked[2][1].cluster.kind == "kubernetes"


def test_the_banner_has_the_address_and_a_first_command_but_not_the_token(kjr: Kjr, bootstrap: Bootstrap) -> None:
    result = kjr("up")
    assert result.out == b""
    assert "http://127.0.0.1:4711" in result.err
    assert "kjr run " in result.err
    assert "kjr_abcdefgh…" in result.err
    assert "secret" not in result.err
    assert kjr("up", "--quiet").err == ""


def test_serve_passes_components_and_the_exit_code_on(kjr: Kjr, bootstrap: Bootstrap) -> None:
    assert kjr("serve", "sweeper", "web-server").code == 1
    name, settings, components = bootstrap.asked[0]
    assert (name, settings.cluster.kind, components) == ("serve", "kubernetes", ["sweeper", "web-server"])


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
    assert "--print goes with --roles" in result.err


def test_a_queue_in_the_database_needs_neither_init_nor_check(kjr: Kjr, bootstrap: Bootstrap) -> None:
    for verb in ("init", "check"):
        result = kjr("queue", verb)
        assert (result.code, result.text) == (0, "")
        assert "`kjr migrate` makes it" in result.err


def test_queue_init_tells_what_it_did(kjr: Kjr, bootstrap: Bootstrap, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KJR_QUEUE", "sqs://kjr")
    bootstrap.queue = ["kjr: made"]
    assert kjr("queue", "init").text == "kjr: made\n"
    bootstrap.queue = []
    assert "the queue is there" in kjr("queue", "init").err
    assert bootstrap.asked == [("init_queue", "sqs://kjr")] * 2


def test_queue_check_fails_when_something_does_not_fit(kjr: Kjr, bootstrap: Bootstrap) -> None:
    counts = ports.QueueCounts(waiting=2, delayed=1, in_flight=4, dead=5)
    bootstrap.queue = ([], counts)
    result = kjr("queue", "check")
    assert (result.code, result.text) == (0, "3 messages wait, 4 are being handled, 5 are dead letters\n")
    bootstrap.queue = (["it has no redrive policy"], counts)
    result = kjr("queue", "check")
    assert result.code == 1
    assert "kjr: it has no redrive policy" in result.err


def test_tokens(kjr: Kjr, bootstrap: Bootstrap) -> None:
    assert kjr("token", "create", "ci").text == "kjr_new\n"
    assert "ci\\e  abcd" in kjr("token", "list").text
    assert kjr("token", "list", "-o", "json").json[0]["created_at"] == "2026-01-01T00:00:00Z"
    assert "2 revoked" in kjr("token", "revoke", "ci").err
    assert kjr("token", "revoke", "unknown").code == 3


@pytest.mark.parametrize(
    ("error", "code"), [(ConfigurationError("the directory is in use"), 2), (DatabaseUnavailable("no answer"), 1)]
)
def test_refusals_are_messages_not_tracebacks(kjr: Kjr, bootstrap: Bootstrap, error: Exception, code: int) -> None:
    bootstrap.error = error
    for args in (["up"], ["serve"], ["migrate"], ["token", "list"]):
        result = kjr(*args)
        assert result.code == code
        assert result.last_line == f"kjr: {error}"
        assert "Traceback" not in result.err


def test_a_bug_keeps_its_traceback(kjr: Kjr, bootstrap: Bootstrap) -> None:
    bootstrap.error = ZeroDivisionError("a bug")
    result = kjr("up")
    assert result.code == 1
    assert "Traceback" in result.err
    assert "ZeroDivisionError: a bug" in result.err


def test_a_wrong_setting_is_named(kjr: Kjr, bootstrap: Bootstrap, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KJR_PORT", "many")
    monkeypatch.setenv("KJR_PROT", "80")
    result = kjr("serve")
    assert result.code == 2
    assert "KJR_PORT" in result.last_line
    assert "KJR_PROT is not known" in result.err
