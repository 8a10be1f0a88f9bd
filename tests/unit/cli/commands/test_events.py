"""`kjr events`: order, formats and following."""

from __future__ import annotations

import json

from tests.unit.cli.conftest import Kjr
from tests.unit.cli.stub import Stub


def test_events_are_in_order_of_time(kjr_on: Kjr, stub: Stub) -> None:
    job_id = stub.add("ok")
    result = kjr_on("timeline", job_id)
    assert result.code == 0
    assert [line.split("  ")[0] for line in result.text.splitlines()[1:]] == [
        "2026-01-01 00:00:00",
        "2026-01-01 00:00:00",
        "2026-01-01 00:00:01",
        "2026-01-01 00:00:15",
    ]
    words = [line.split()[2:] for line in result.text.splitlines()[1:]]
    assert words == [
        ["○", "queued"],
        ["1", "queued", "1.0s"],
        ["1", "running", "14s"],
        ["1", "✓", "succeeded", "Completed"],
    ]
    kinds = [(event["kind"], event["at"]) for event in kjr_on("events", job_id, "-o", "json").json]
    assert kinds[0] == ("transition", "2026-01-01T00:00:00Z")
    assert [kind for kind, _ in kinds] == ["transition", "phase", "phase", "transition"]


def test_events_whose_changes_of_state_retention_removed_say_so(kjr_on: Kjr, stub: Stub) -> None:
    job_id = stub.add("ok")
    stub.without_history.add(job_id)
    result = kjr_on("events", job_id, "-o", "json")
    assert [event["kind"] for event in result.json] == ["phase", "phase"]
    assert "retention removed the state changes" in result.err


def test_events_follow_a_job_to_its_end_and_say_nothing_twice(kjr_on: Kjr, stub: Stub) -> None:
    job_id = stub.store({"image": "ok"})
    result = kjr_on("events", "-f", job_id)
    assert result.code == 0
    lines = result.text.splitlines()
    assert lines[0].split() == ["TIME", "(UTC)", "ATTEMPT", "STATE", "PHASE", "TOOK", "WHY"]
    assert len(lines) == len(set(lines))
    lasting = [line for line in lines if "..." in line]
    assert len(lasting) == 1
    assert "it is\\e[2J slow; until 2026-01-02 00:00:00" in lasting[0]
    assert "succeeded" in lines[-1] or "running" in lines[-1]
    stub.timelines.clear()
    again = kjr_on("events", "-f", job_id, "-o", "jsonl")
    assert {json.loads(line)["kind"] for line in again.text.splitlines()} == {"transition", "phase"}
    assert kjr_on("events", "-f", job_id, "-o", "json").code == 2
