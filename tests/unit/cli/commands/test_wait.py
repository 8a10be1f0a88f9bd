"""`kjr wait`: for the first job, and for all."""

from __future__ import annotations

from tests.unit.cli.conftest import Kjr
from tests.unit.cli.stub import Stub, ended


def test_wait_for_the_first(kjr_on: Kjr, stub: Stub) -> None:
    stub.scenarios["it"] = ended("failed", "ApplicationExit", exit_code=7)
    hold, quick = stub.add("hold"), stub.store({"image": "it"})
    result = kjr_on("wait", "--any", hold, quick, "-o", "json")
    assert (result.code, result.json["id"]) == (7, quick)


def test_wait_for_all_names_each_end(kjr_on: Kjr, stub: Stub) -> None:
    ids = [stub.add("ok"), stub.store({"image": "never-started"})]
    result = kjr_on("wait", *ids, ids[0], "-o", "id")
    assert (result.code, result.text.split()) == (1, ids)
    assert f"kjr: job {ids[1]} failed: ImageNotFound: About ImageNotFound." in result.err
