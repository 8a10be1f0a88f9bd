"""`kjr logs`: bytes stay unchanged, and a missing log is an error."""

from __future__ import annotations

from tests.unit.cli.conftest import Kjr
from tests.unit.cli.stub import Stub


def test_logs_are_passed_on_untouched(kjr_on: Kjr, stub: Stub) -> None:
    stub.logs["ok"] = b"\x1b[31mred\x00\r\nbar\rbaz\xff no newline"
    job_id = stub.add("ok")
    assert kjr_on("logs", job_id).out == stub.logs["ok"]
    assert kjr_on("logs", "-f", job_id).out == stub.logs["ok"]
    assert kjr_on("run", "ok").out == stub.logs["ok"]


def test_logs_of_a_job_without_one_are_an_error(kjr_on: Kjr, stub: Stub) -> None:
    result = kjr_on("logs", stub.add("never-started"))
    assert result.code == 3
    assert "never started" in result.err
