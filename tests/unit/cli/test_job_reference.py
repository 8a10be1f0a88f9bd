"""A job is found by id, prefix, name and `@last`."""

from __future__ import annotations

from pathlib import Path

import pytest

from kube_job_runner.cli import job_reference
from tests.unit.cli.conftest import Kjr
from tests.unit.cli.stub import Stub


def test_a_job_is_found_by_id_prefix_name_and_last(kjr_on: Kjr, stub: Stub) -> None:
    old, new = stub.add("ok", name="same"), stub.add("ok", name="same")
    last = kjr_on("run", "-d", "hold").text.strip()
    for reference, job_id in (
        (old, old),
        (old.upper(), old),
        (old[:20], old),
        ("same", new),
        ("@last", last),
        ("hold", last),
    ):
        assert kjr_on("get", reference, "-o", "id").text.strip() == job_id


def test_a_prefix_of_several_jobs_lists_them(kjr_on: Kjr, stub: Stub) -> None:
    ids = [stub.add("ok", moment=5) for _ in range(2)]
    result = kjr_on("get", ids[0][:13])
    assert result.code == 1
    assert "2 jobs begin with" in result.err
    assert all(job_id in result.err for job_id in ids)


def test_a_name_that_looks_like_an_id_is_still_a_name(kjr_on: Kjr, stub: Stub) -> None:
    ids = [stub.add("ok", name="deadbeef"), stub.add("ok", name="0badc0de-x"), stub.add("ok", name="019abcde")]
    names = ("deadbeef", "0badc0de-x", "019abcde")
    assert [kjr_on("get", name, "-o", "id").text.strip() for name in names] == ids


def test_last_is_per_server_and_may_be_missing(kjr_on: Kjr, stub: Stub) -> None:
    result = kjr_on("get", "@last")
    assert result.code == 3
    assert "no job was submitted" in result.err


def test_a_data_directory_that_cannot_be_written_stops_nothing(
    kjr_on: Kjr, stub: Stub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("KJR_DATA_DIR", str(tmp_path / "file" / "below"))
    assert kjr_on("run", "ok").code == 0


UNKNOWN = "0199d1f2-7c00-7a3b-8c4d-5e6f708192a3"


@pytest.mark.parametrize("command", [["explain"], ["events"], ["rerun"], ["get", "--attempts"], ["timeline"]])
def test_no_such_job_is_3(kjr_on: Kjr, command: list[str]) -> None:
    assert kjr_on(*command, UNKNOWN).code == 3


def test_a_prefix_tells_its_time() -> None:
    span = job_reference.window("019ac7d3-5b5e")
    assert span is not None
    assert (span[1] - span[0]).total_seconds() == pytest.approx(1200, abs=1)
    assert job_reference.window("deadbeef") is None
    assert job_reference.window("00000000") is None
