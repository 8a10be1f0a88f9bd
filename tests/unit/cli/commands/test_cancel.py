"""`kjr cancel`: by id and by label, with a reason and a grace."""

from __future__ import annotations

import pytest

from tests.unit.cli.conftest import Kjr
from tests.unit.cli.stub import Stub


def test_cancel_by_id_gives_the_reason_and_an_ended_job_is_no_error(kjr_on: Kjr, stub: Stub) -> None:
    hold, ok = stub.add("hold"), stub.add("ok")
    result = kjr_on("cancel", hold, ok, "--reason", "because", "--wait")
    assert (result.code, result.text.split()) == (0, [hold, ok])
    assert (hold, "because") in stub.cancels
    assert "has ended already: succeeded" in result.err


def test_cancel_by_label_asks_and_without_a_terminal_refuses(kjr_on: Kjr, stub: Stub) -> None:
    for _ in range(2):
        stub.add("hold", labels={"team": "x"})
    stub.add("ok", labels={"team": "x"})
    stub.add("hold", labels={"team": "y"})
    refused = kjr_on("cancel", "-l", "team=x")
    assert refused.code == 2
    assert "cancel 2 jobs; add -y" in refused.err
    assert stub.cancels == []
    assert kjr_on("cancel", "-l", "team=x", "-y").code == 0
    assert len(stub.cancels) == 2
    assert kjr_on("cancel", "-l", "team=z", "-y").code == 0


@pytest.mark.parametrize("args", [[], ["id", "-l", "a=b"]])
def test_cancel_needs_ids_or_a_selector(kjr: Kjr, args: list[str]) -> None:
    assert kjr("cancel", *args).code == 2


def test_cancel_passes_the_grace_on_and_says_what_happens(kjr_on: Kjr, stub: Stub) -> None:
    for args in (["--grace", "90s"], ["--grace", "0"], ["--force"], []):
        result = kjr_on("cancel", stub.add("hold"), "--reason", "r", *args)
        assert result.code == 0
        assert "is cancelled. It is killed." in result.err
    assert stub.graces == [90, 0, 0, None]
    stub.add("hold", labels={"a": "b"})
    assert "It is killed." not in kjr_on("cancel", "-l", "a=b", "-y", "--force").err
    assert stub.graces[-1] == 0


@pytest.mark.parametrize("args", [["--grace", "2h"], ["--grace", "1.5s"], ["--grace", "5", "--force"]])
def test_a_wrong_grace_is_2(kjr_on: Kjr, stub: Stub, args: list[str]) -> None:
    assert kjr_on("cancel", stub.add("hold"), *args).code == 2
    assert stub.cancels == []
