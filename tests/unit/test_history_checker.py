"""The checker itself: it must catch each kind of broken promise, else the crash tests prove nothing."""

from __future__ import annotations

from typing import Any

import msgspec

from tests.support.history import History, violations


def row(version: int, from_state: str | None, to_state: str) -> dict[str, Any]:
    return {"version": version, "from_state": from_state, "to_state": to_state}


GOOD = History(
    acknowledged={"a": "key-1"},
    jobs={"a": {"state": "succeeded", "reason": "Completed"}},
    transitions={"a": [row(1, None, "queued"), row(2, "queued", "starting"), row(3, "starting", "succeeded")]},
    creates=[
        {"objectRef": {"name": "a-1"}, "responseStatus": {"code": 201}},
        {"objectRef": {"name": "a-1"}, "responseStatus": {"code": 409}},
    ],
    terminal_seen=[("a", "succeeded")],
)


def broken(**changes: Any) -> list[str]:
    return [text.split(":")[0] for text in violations(msgspec.structs.replace(GOOD, **changes))]


def test_a_good_run_breaks_nothing() -> None:
    assert violations(GOOD) == []


def test_each_broken_promise_is_named() -> None:
    assert broken(acknowledged={"a": "key-1", "b": None}) == ["I1"]
    assert broken(acknowledged={"a": "key-1", "b": "key-1"}) == ["I1", "I2"]
    assert broken(creates=[*GOOD.creates, GOOD.creates[0]]) == ["I3"]
    assert broken(terminal_seen=[("a", "failed")]) == ["I4"]
    assert broken(jobs={"a": {"state": "succeeded", "reason": ""}}) == ["I5"]
    assert broken(jobs={"a": {"state": "running"}}) == ["I4", "I6", "I8"]
    assert broken(left=["pod a-1-x"]) == ["I7"]
    assert broken(transitions={}) == ["I8"]
    illegal = [row(1, None, "queued"), row(2, "queued", "succeeded")]
    assert broken(transitions={"a": illegal}) == ["I8"]
    overwritten = [row(1, None, "queued"), row(2, "queued", "failed"), row(3, "failed", "succeeded")]
    assert broken(transitions={"a": overwritten}) == ["I4"]
    gap = [row(1, None, "queued"), row(2, "starting", "succeeded")]
    assert "I8" in broken(transitions={"a": gap})
    backwards = [row(2, None, "queued"), row(2, "queued", "starting"), row(3, "starting", "succeeded")]
    assert broken(transitions={"a": backwards}) == ["I8"]


def test_a_log_that_is_neither_stored_nor_lost_for_a_reason_is_found() -> None:
    ran: dict[str, Any] = {"number": 1, "started_at": "2026-01-15T09:00:00+00:00", "logs": "stored", "logs_lost": ""}
    assert broken(attempts={"a": [ran, {"number": 2, "started_at": None, "logs": "", "logs_lost": ""}]}) == []
    assert broken(attempts={"a": [ran | {"logs": "lost", "logs_lost": "the node was gone"}]}) == []
    assert broken(attempts={"a": [ran | {"logs": "lost"}]}) == ["I9"]
    assert broken(attempts={"a": [ran | {"logs": "following"}]}) == ["I9"]


def test_more_jobs_in_the_cluster_than_a_limit_allows_are_found() -> None:
    def life(start: int, end: int) -> list[dict[str, Any]]:
        rows = [row(1, None, "queued"), row(2, "queued", "starting"), row(3, "starting", "succeeded")]
        return [one | {"at": f"2026-01-01T00:00:{at:02}Z"} for one, at in zip(rows, (0, start, end), strict=True)]

    jobs = {name: {**GOOD.jobs["a"], "queue": queue} for name, queue in (("a", "etl"), ("b", "etl"), ("c", "web"))}
    lives = {"a": life(1, 5), "b": life(5, 9), "c": life(2, 8)}
    assert broken(jobs=jobs, transitions=lives, limits={"": 2, "etl": 1}) == [], (
        "a place that is given up is free at once"
    )
    assert broken(jobs=jobs, transitions=lives, limits={"": 1}) == ["I11", "I11"]
    assert broken(jobs=jobs, transitions=lives | {"b": life(4, 9)}, limits={"": 3, "etl": 1}) == ["I11"]
