"""Answers of a newer server are read without loss."""

from __future__ import annotations

from tests.unit.client.conftest import JOB_ID, Driver, Script, job


def test_what_a_newer_server_says_is_kept_and_breaks_nothing(client: Driver, script: Script) -> None:
    script.add(job("hibernating", 4, colour="blue", labels=None, name=None))
    seen = client.call("get", JOB_ID)
    assert (seen.state, seen.terminal, seen.labels, seen.name) == ("hibernating", False, {}, "")
    assert seen.raw["colour"] == "blue"


def test_an_unknown_state_with_an_end_time_has_ended(client: Driver, script: Script) -> None:
    script.add(job("expired", 4, finished_at="2026-01-01T00:00:05Z"))
    assert client.call("get", JOB_ID).terminal
