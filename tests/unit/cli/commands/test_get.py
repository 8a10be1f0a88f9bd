"""`kjr get`: descriptions, attempts and JSON."""

from __future__ import annotations

from tests.unit.cli.conftest import Kjr
from tests.unit.cli.evidence import EVIDENCE
from tests.unit.cli.stub import ENDED, Stub, ended


def test_get_tells_the_story_and_the_next_step(kjr_on: Kjr, stub: Stub) -> None:
    stub.scenarios["it"] = ended("failed", "ApplicationExit", exit_code=3)
    job_id = stub.add("it")
    result = kjr_on("get", job_id)
    for part in (
        "✗ failed",
        "exit code       3",
        "ApplicationExit",
        "About ApplicationExit.",
        "phases",
        "attempts",
        "c-1",
    ):
        assert part in result.text
    assert result.text.splitlines()[-1] == f"next: kjr explain {job_id}"
    whole = kjr_on("get", job_id, "-o", "json").json
    assert (whole["exit_code"], len(whole["transitions"]), len(whole["attempts"])) == (3, 2, 1)
    assert kjr_on("get", job_id, "--spec", "-o", "json").json == {"image": "it", "name": "it"}


def test_get_of_several_is_a_list(kjr_on: Kjr, stub: Stub) -> None:
    ids = [stub.add("ok"), stub.add("hold")]
    assert [job["id"] for job in kjr_on("get", *ids, "-o", "json").json] == ids
    assert kjr_on("get", *ids).text.count("phases") == 2


UNKNOWN = "0199d1f2-7c00-7a3b-8c4d-5e6f708192a3"


def test_get_shows_phases_with_their_durations(kjr_on: Kjr, stub: Stub) -> None:
    job_id = stub.add("hold", cancel={"by": "ann", "reason": "enough", "outlook": "It is killed."}, rerun_of=UNKNOWN)
    text = kjr_on("get", job_id).text
    assert "\n  ✓ queued 1.0s  ⠋ running 14s ...\n    it is\\e[2J slow\n    until 2026-01-02 00:00:00Z" in text
    assert f"\n  rerun of        {UNKNOWN}\n" in text
    assert "\n  cancel asked by ann: enough\n  what happens    It is killed.\n" in text
    phase = {"attempt": 2, "name": "queued", "started_at": ENDED, "ended_at": None, "deadline": None, "reason": None}
    stub.timelines[job_id] = [{**phase, "attempt": 1, "ended_at": ENDED}, phase]
    assert "  attempt 1  ✓ queued 0.0s\n  attempt 2  ⠋ queued 0.0s ...\n" in kjr_on("get", job_id).text


def test_get_shows_attempts_alone(kjr_on: Kjr, stub: Stub) -> None:
    job_id = stub.add("ok")
    stub.explanations[job_id] = EVIDENCE
    lines = kjr_on("get", "--attempts", job_id).text.splitlines()
    assert lines[1].split()[1:6] == ["1", "NodePressureEvicted", "infrastructure", "infrastructure", "free"]
    assert lines[2].split()[1:8] == ["2", "OutOfMemory", "application", "137", "attempts", "14s", "n1"]
    rows = kjr_on("get", "--attempts", job_id, "-o", "json").json
    assert [(row["job_id"], row["number"]) for row in rows] == [(job_id, 1), (job_id, 2)]
    assert kjr_on("get", "--attempts", "--spec", job_id).code == 2
    assert [phase["name"] for phase in kjr_on("get", job_id, "-o", "json").json["phases"]] == ["queued", "running"]
