"""`kjr version`: with and without a server."""

from __future__ import annotations

from tests.unit.cli.conftest import Kjr
from tests.unit.cli.stub import Stub


def test_version_tells_both(kjr_on: Kjr, stub: Stub) -> None:
    answer = kjr_on("version", "-o", "json").json
    assert answer["server"]["version"] == "0.1.0"
    assert answer["url"] == stub.url
    assert kjr_on("version").text.startswith("client 0.1.0\nserver 0.1.0 at http")


def test_version_works_without_a_server(kjr: Kjr) -> None:
    assert kjr("version").code == 0
    assert kjr("version", "--client", "-o", "json").json == {"client": "0.1.0"}
