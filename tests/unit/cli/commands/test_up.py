"""`kjr up`: settings and banner."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.cli.conftest import Kjr
from tests.unit.cli.stand_in import Bootstrap


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
