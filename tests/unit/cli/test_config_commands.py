"""`kjr config show` and `kjr config check`."""

from __future__ import annotations

import pytest

from kube_job_runner.cli import main


def test_config_show_leaves_out_passwords(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("KJR_DATABASE_URL", "postgresql://kjr:pa55word@db/kjr")
    assert main.invoke("config", "show", "--changed") == 0
    assert "KJR_DATABASE_URL=postgresql://***@db/kjr\n" in capsys.readouterr().out
    assert main.invoke("config", "show") == 0
    assert "KJR_PORT=8080" in capsys.readouterr().out


def test_config_check(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.invoke("config", "check") == 0
    monkeypatch.setenv("KJR_PROT", "1")
    assert main.invoke("config", "check") == 1
    assert "the variable KJR_PROT is not known (did you mean KJR_PORT?)" in capsys.readouterr().err
    monkeypatch.setenv("KJR_PORT", "eighty")
    assert main.invoke("config", "check") == 1
    assert "KJR_PORT=" in capsys.readouterr().err
    monkeypatch.delenv("KJR_PROT")
    monkeypatch.delenv("KJR_PORT")
    monkeypatch.setenv("KJR_FAILURE_RULES", "/nowhere/rules.yaml")
    assert main.invoke("config", "check") == 1
