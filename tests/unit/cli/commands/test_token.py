"""`kjr token`: creating, listing and revoking."""

from __future__ import annotations

from tests.unit.cli.conftest import Kjr
from tests.unit.cli.stand_in import Bootstrap


def test_tokens(kjr: Kjr, bootstrap: Bootstrap) -> None:
    assert kjr("token", "create", "ci").text == "kjr_new\n"
    assert "ci\\e  abcd" in kjr("token", "list").text
    assert kjr("token", "list", "-o", "json").json[0]["created_at"] == "2026-01-01T00:00:00Z"
    assert "2 revoked" in kjr("token", "revoke", "ci").err
    assert kjr("token", "revoke", "unknown").code == 3
