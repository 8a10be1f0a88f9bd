"""`kjr config`, `kjr config show` and `kjr config check`."""

from __future__ import annotations

import pytest

from kube_job_runner.cli import main
from tests.unit.cli.conftest import Kjr


def test_config_lists_every_setting_with_its_meaning(kjr: Kjr, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KJR_DATABASE_URL", "postgresql://user:secret@db/x")
    entries = {entry["name"]: entry for entry in kjr("config", "-o", "json").json}
    assert all(entry["meaning"] for entry in entries.values())
    assert entries["KJR_PORT"]["default"] == "8080"
    assert entries["KJR_DATABASE_URL"]["value"] == "postgresql://***@db/x"
    assert "secret" not in kjr("config").text


def test_config_show_leaves_out_passwords(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("KJR_DATABASE_URL", "postgresql://kjr:pa55word@db/kjr")
    assert main.run(["config", "show", "--changed"]) == 0
    assert "KJR_DATABASE_URL=postgresql://***@db/kjr\n" in capsys.readouterr().out
    assert main.run(["config", "show"]) == 0
    assert "KJR_PORT=8080" in capsys.readouterr().out


def test_config_check(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["config", "check"]) == 0
    monkeypatch.setenv("KJR_PROT", "1")
    assert main.run(["config", "check"]) == 1
    assert "the variable KJR_PROT is unknown (did you mean KJR_PORT?)" in capsys.readouterr().err
    monkeypatch.setenv("KJR_PORT", "eighty")
    assert main.run(["config", "check"]) == 1
    assert "KJR_PORT=" in capsys.readouterr().err
    monkeypatch.delenv("KJR_PROT")
    monkeypatch.delenv("KJR_PORT")
    monkeypatch.setenv("KJR_FAILURE_RULES", "/nowhere/rules.yaml")
    assert main.run(["config", "check"]) == 1
