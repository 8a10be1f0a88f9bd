"""Wrong and unknown settings are named."""

from __future__ import annotations

import pytest

from tests.unit.cli.conftest import Kjr
from tests.unit.cli.stand_in import Bootstrap


def test_a_wrong_setting_is_named(kjr: Kjr, bootstrap: Bootstrap, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KJR_PORT", "many")
    monkeypatch.setenv("KJR_PROT", "80")
    result = kjr("serve")
    assert result.code == 2
    assert "KJR_PORT" in result.last_line
    assert "KJR_PROT is unknown" in result.err
