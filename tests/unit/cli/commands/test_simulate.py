"""`kjr simulate`: policies on jobs and on failures."""

from __future__ import annotations

from pathlib import Path

from tests.unit.cli.conftest import Kjr
from tests.unit.cli.stub import Stub


def test_simulate_shows_the_decisions_on_failures(kjr_on: Kjr, stub: Stub, tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text("attempts: 2\nbackoff_seconds: 1m\n")
    result = kjr_on(
        "simulate", "-f", str(policy), "--failure", "OutOfMemory:137", "--failure", "PodLost", "--memory", "1Gi"
    )
    assert result.code == 0, result.err
    assert stub.simulated == [
        {
            "policy": {"attempts": 2, "backoff_seconds": 60},
            "failures": [{"reason": "OutOfMemory", "exit_code": 137}, {"reason": "PodLost"}],
            "memory": "1Gi",
        }
    ]
    lines = [line.split() for line in result.text.splitlines()]
    assert lines[0] == ["ATTEMPT", "REASON", "EXIT", "CHARGED", "TO", "THEN", "MEMORY", "WHY"]
    assert lines[1][4:8] == ["retry", "in", "10s", "2048Mi"]
    assert lines[2][4] == "end"
    assert lines[3] == ["3", "OutOfMemory", "137", "attempts", "not", "reached"]
    assert "the policy: failed after 2 of 3 attempts, 10s of waiting" in result.err


def test_simulate_takes_jobs_and_the_policy_of_a_spec(kjr_on: Kjr, stub: Stub, tmp_path: Path) -> None:
    spec = tmp_path / "job.yaml"
    spec.write_text("image: x\nresources: {memory: 3Gi}\nretry: {attempts: 9}\n")
    job_id = stub.add("ok")
    result = kjr_on("simulate", "-f", str(spec), job_id)
    assert stub.simulated[-1] == {"policy": {"attempts": 9}, "jobs": [job_id]}
    assert result.text.startswith("JOB ")
    assert "then another attempt, whose outcome is unknown" in result.err
    assert kjr_on("simulate", "-f", str(spec), job_id, "-o", "json").json["job_id"] == job_id
    kjr_on("simulate", "-f", str(spec), "--failure", "OutOfMemory")
    assert stub.simulated[-1]["memory"] == "3Gi"


def test_simulate_in_a_wrong_way_is_2(kjr_on: Kjr, stub: Stub, tmp_path: Path) -> None:
    policy, many, odd = tmp_path / "p.yaml", tmp_path / "m.yaml", tmp_path / "o.yaml"
    policy.write_text("attempts: 2\n")
    many.write_text("attempts: 2\n---\nattempts: 3\n")
    odd.write_text("retry: often\n")
    some = ["--failure", "OutOfMemory"]
    for args in (
        ["-f", str(policy)],
        ["-f", str(policy), "some", *some],
        ["-f", str(policy), "some", "--memory", "1Gi"],
        ["-f", str(policy), "--failure", "Out Of Memory"],
        ["-f", str(many), *some],
        ["-f", str(odd), *some],
        ["-f", str(tmp_path / "none"), *some],
        some,
    ):
        assert kjr_on("simulate", *args).code == 2, args
    assert stub.simulated == []
