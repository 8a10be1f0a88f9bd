"""`kjr serve`: components, exit code, and wrong failure rules."""

from __future__ import annotations

from pathlib import Path

import pytest

from kube_job_runner.cli import main
from tests.unit.cli.conftest import Kjr
from tests.unit.cli.stand_in import Bootstrap


def test_serve_passes_components_and_the_exit_code_on(kjr: Kjr, bootstrap: Bootstrap) -> None:
    assert kjr("serve", "sweeper", "web-server").code == 1
    name, settings, components = bootstrap.asked[0]
    assert (name, settings.cluster.kind, components) == ("serve", "kubernetes", ["sweeper", "web-server"])


@pytest.mark.parametrize("args", [["up", "--port", "0"], ["serve"]])
def test_a_server_with_a_wrong_rule_does_not_start(
    args: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "rules.yaml").write_text("- {pattern: x, verdict: never}\n")
    monkeypatch.setenv("KJR_FAILURE_RULES", str(tmp_path / "rules.yaml"))
    monkeypatch.setenv("KJR_DATA_DIR", str(tmp_path / "data"))
    assert main.run([*args]) == 2
    assert "failure rule 0: verdict: 'never' is not one" in capsys.readouterr().err
    assert not (tmp_path / "data").exists()
