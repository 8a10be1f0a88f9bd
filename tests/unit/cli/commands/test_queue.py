"""`kjr queue`: creating and checking."""

from __future__ import annotations

import pytest

from kube_job_runner import ports
from tests.unit.cli.conftest import Kjr
from tests.unit.cli.stand_in import Bootstrap


def test_a_queue_in_the_database_needs_neither_init_nor_check(kjr: Kjr, bootstrap: Bootstrap) -> None:
    for verb in ("init", "check"):
        result = kjr("queue", verb)
        assert (result.code, result.text) == (0, "")
        assert "`kjr migrate` creates it" in result.err


def test_queue_init_tells_what_it_did(kjr: Kjr, bootstrap: Bootstrap, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KJR_QUEUE", "sqs://kjr")
    bootstrap.queue = ["kjr: made"]
    assert kjr("queue", "init").text == "kjr: made\n"
    bootstrap.queue = []
    assert "the queue and its dead-letter queue exist already" in kjr("queue", "init").err
    assert bootstrap.asked == [("init_queue", "sqs://kjr")] * 2


def test_queue_check_fails_when_something_does_not_fit(kjr: Kjr, bootstrap: Bootstrap) -> None:
    counts = ports.QueueCounts(waiting=2, delayed=1, in_flight=4, dead=5)
    bootstrap.queue = ([], counts)
    result = kjr("queue", "check")
    assert (result.code, result.text) == (0, "3 messages waiting, 4 in flight, 5 dead letters\n")
    bootstrap.queue = (["it has no redrive policy"], counts)
    result = kjr("queue", "check")
    assert result.code == 1
    assert "kjr: it has no redrive policy" in result.err
