"""What a person sees of a job's record: events, explanation, attempts; and reruns, simulations and cancels with a grace."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kube_job_runner.cli.commands import explain
from tests.unit.cli.conftest import Kjr
from tests.unit.cli.stub import ENDED, LOG, STARTED, Stub, ended

UNKNOWN = "0199d1f2-7c00-7a3b-8c4d-5e6f708192a3"
EVIDENCE: dict[str, Any] = {
    "sentence": "Failed on node n1: the program\x1b[31m was killed.",
    "state": "failed",
    "reason": "OutOfMemory",
    "attempts": [
        {
            "number": 1,
            "verdict": {
                "outcome": "failed",
                "reason": "NodePressureEvicted",
                "explanation": "Evicted.",
                "cause": "infrastructure",
                "charged_to": "infrastructure",
                "retried": True,
                "followed": "free retry 1 of 5 follows",
            },
        },
        {
            "number": 2,
            "verdict": {
                "outcome": "failed",
                "reason": "OutOfMemory",
                "explanation": "Container main used more memory than 1Gi.",
                "exit_code": 137,
                "signal": 9,
                "cause": "application",
                "rule": "oom-killed",
                "charged_to": "attempts",
                "retried": False,
                "followed": "it was attempt 1 of 1",
            },
            "node": "n1",
            "memory": "1024Mi",
            "started_at": STARTED,
            "finished_at": ENDED,
            "cluster_job": {
                "namespace": "default",
                "name": "etl-2",
                "gone_at": ENDED,
                "conditions": [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "m"}],
            },
            "pods": [
                {
                    "name": "etl-2-x",
                    "phase": "Failed",
                    "gone": True,
                    "reason": "Evicted",
                    "message": "low\non memory",
                    "conditions": [
                        {"type": "PodScheduled", "status": "True"},
                        {"type": "Ready", "status": "False", "reason": "PodFailed"},
                    ],
                    "containers": [
                        {"name": "fetch", "kind": "init", "state": "terminated", "exit_code": 0},
                        {
                            "name": "main",
                            "kind": "main",
                            "state": "terminated",
                            "reason": "OOMKilled",
                            "exit_code": 137,
                            "signal": 9,
                            "restarts": 2,
                            "started_at": STARTED,
                            "finished_at": ENDED,
                        },
                    ],
                }
            ],
            "events": [
                {"reason": "BackOff", "message": "slow", "count": 7, "first_at": STARTED, "last_at": ENDED},
                {"reason": "Pulled", "message": "done", "count": 1, "first_at": STARTED, "last_at": None},
            ],
            "nodes": [{"name": "n1", "conditions": [{"type": "MemoryPressure", "status": "True", "reason": "Low"}]}],
            "last_lines": [{"container": "main", "lines": ["one", "two\x1b[2J"]}],
        },
    ],
    "anomalies": [{"attempt": 2, "kind": "CompletedLater", "detail": "it completed", "at": ENDED}],
    "missing": ["the node cannot be read now"],
}
EXPLAINED = """\
Failed on node n1: the program\\e[31m was killed.

attempt 1: ✗ failed, NodePressureEvicted
  why          Evicted.
  whose fault  the cluster's (infrastructure)
  charged to   infrastructure
  then         free retry 1 of 5 follows

attempt 2: ✗ failed, OutOfMemory
  why          Container main used more memory than 1Gi.
  exit code    137 (signal 9)
  whose fault  the program's (application)
  charged to   attempts
  then         no other attempt: it was attempt 1 of 1
  rule         oom-killed
  node         n1
  memory       1024Mi
  ran          14s
  cluster job  default/etl-2 (left the cluster 2026-01-01 00:00:15)
  condition    Failed=True  BackoffLimitExceeded: m
  pod          etl-2-x  Failed  left the cluster
               Evicted: low\\non memory
  condition    Ready=False  PodFailed
  container    fetch (init)  terminated  exit 0
  container    main  terminated  exit 137  signal 9  2 restarts  14s  OOMKilled
  event        BackOff: slow (7 times, last 2026-01-01 00:00:15)
  event        Pulled: done (2026-01-01 00:00:01)
  node n1      MemoryPressure=True  Low
  last lines of main
    | one
    | two\\e[2J

contrary evidence, which came later and changed nothing
  attempt 2    2026-01-01 00:00:15 CompletedLater: it completed
missing: the node cannot be read now

job {id}: ✗ failed; its log: kjr logs --tail 50 {id}; this reason: kjr explain OutOfMemory; to run it again: kjr rerun {id}
"""

# --- explain ---


def test_explain_prints_the_sentence_and_then_the_evidence(kjr_on: Kjr, stub: Stub) -> None:
    job_id = stub.add("ok")
    stub.explanations[job_id] = EVIDENCE
    result = kjr_on("explain", job_id)
    assert (result.code, result.err) == (0, "")
    assert result.text == EXPLAINED.replace("{id}", job_id)
    assert kjr_on("explain", job_id, "-o", "json").json["attempts"] == EVIDENCE["attempts"]


@pytest.mark.parametrize(
    ("scenario", "step"),
    [("hold", "kjr events -f"), ("ok", "kjr rerun"), ("never-started", "kjr explain ImageNotFound")],
)
def test_explain_ends_with_what_comes_next(kjr_on: Kjr, stub: Stub, scenario: str, step: str) -> None:
    job_id = stub.add(scenario)
    lines = kjr_on("explain", job_id[:20]).text.splitlines()
    assert lines[0] == f"About {scenario}."
    assert step in lines[-1]
    assert "kjr logs" not in lines[-1]  # nothing has run


def test_explain_takes_names_where_they_are_no_codes(kjr_on: Kjr, stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = stub.add("ok", name="etl")
    monkeypatch.setattr(explain, "explain_code", lambda code: code == "out_of_memory")
    assert f"job {job_id}: " in kjr_on("explain", "etl").text
    assert kjr_on("explain", "out_of_memory").code == 0
    monkeypatch.setattr(explain, "_unknown", explain_failed)
    assert kjr_on("explain", "nothing").code == 3


def explain_failed(code: str) -> Exception:
    """Return the error of a word that is neither a job nor a code."""
    from kube_job_runner.cli.error_report import CommandFailed

    return CommandFailed(f"no {code}", exit_code=3)


@pytest.mark.parametrize("command", [["explain"], ["events"], ["rerun"], ["get", "--attempts"], ["timeline"]])
def test_no_such_job_is_3(kjr_on: Kjr, command: list[str]) -> None:
    assert kjr_on(*command, UNKNOWN).code == 3


# --- events and phases ---


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
    assert "retention removed the changes of state" in result.err


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


def test_list_filters_by_reason_and_by_what_is_run_again(kjr_on: Kjr, stub: Stub) -> None:
    failed, other = stub.add("never-started"), stub.add("ok", rerun_of=UNKNOWN)
    for flag in ("--reason", "--cause"):
        assert kjr_on("list", flag, "ImageNotFound", "-o", "id").text == f"{failed}\n"
    stub.jobs[other]["rerun_of"] = failed
    assert kjr_on("list", "--rerun-of", failed, "-o", "id").text == f"{other}\n"
    assert kjr_on("list", "--rerun-of", UNKNOWN).code == 3


# --- rerun ---


def test_rerun_sends_typed_changes_and_prints_the_new_id(kjr_on: Kjr, stub: Stub) -> None:
    job_id = stub.add("ok")
    sets = [
        "resources.memory=2Gi",
        "timeouts.run_seconds=10m",
        "env.N=5",
        "args[0]=7",
        "/retry/attempts=3",
        "queue=null",
    ]
    result = kjr_on("rerun", job_id, *[word for one in sets for word in ("--set", one)])
    assert result.code == 0, result.err
    (new,) = [key for key in stub.jobs if key != job_id]
    assert result.text == f"{new}\n"
    assert stub.reruns[0]["set"] == {
        "resources.memory": "2Gi",
        "timeouts.run_seconds": 600,
        "env.N": "5",
        "args[0]": 7,
        "/retry/attempts": 3,
        "queue": None,
    }
    assert kjr_on("get", "@last", "-o", "id").text == f"{new}\n"
    assert "force" not in stub.reruns[0]


def test_rerun_reports_what_is_refused_and_goes_on(kjr_on: Kjr, stub: Stub) -> None:
    done, going = stub.add("ok"), stub.add("hold")
    result = kjr_on("rerun", going, done)
    assert result.code == 1
    assert f"job {going} is running: cancel it first, or --force to have both" in result.err
    assert len(result.text.splitlines()) == 1
    assert kjr_on("rerun", going, "--force").code == 0
    refused = kjr_on("rerun", done, "--set", "priority=500")
    assert (refused.code, refused.out) == (1, b"")
    assert f"job {done} cannot be run again: bad priority\n  /priority: too much" in refused.err
    assert kjr_on("rerun", done, "--set", "priority=500", "--wait").code == 125
    assert "warning: /x was ignored" in kjr_on("rerun", done, "--set", "name=n").err


def test_rerun_can_wait_and_show_the_log(kjr_on: Kjr, stub: Stub) -> None:
    stub.scenarios["bad"] = ended("failed", "ApplicationExit", exit_code=3)
    job_id = stub.add("bad")
    waited = kjr_on("rerun", job_id, "--wait", "-o", "json")
    assert (waited.code, waited.json["rerun_of"], waited.json["state"]) == (3, job_id, "failed")
    shown = kjr_on("rerun", job_id, "--logs")
    assert (shown.code, shown.out) == (3, LOG)
    assert shown.last_line.endswith(
        "failed: ApplicationExit: About ApplicationExit. (docs: kjr explain ApplicationExit)"
    )
    both = kjr_on("rerun", job_id, stub.add("hold"), "--wait")
    assert both.code == 3  # one was refused, and the other has its own code
    assert kjr_on("rerun", stub.add("hold"), "--logs").code == 125


@pytest.mark.parametrize(
    "args", [["a", "b", "--logs"], ["a", "b", "--idempotency-key", "k"], ["a", "--set", "x"], [], ["a", "--set", "a..b=1"],
             ["a", "--set", "queue=a", "--set", "queue=b"]]
)  # fmt: skip
def test_rerun_in_a_wrong_way_is_2(kjr_on: Kjr, stub: Stub, args: list[str]) -> None:
    assert kjr_on("rerun", *args).code == 2
    assert stub.requests == []


def test_one_key_is_sent_for_one_rerun(kjr_on: Kjr, stub: Stub) -> None:
    job_id = stub.add("ok")
    kjr_on("rerun", job_id, "--idempotency-key", "mine")
    kjr_on("rerun", job_id)
    kjr_on("rerun", job_id)
    keys = [rerun["key"] for rerun in stub.reruns]
    assert keys[0] == "mine"
    assert len(set(keys)) == 3


# --- simulate ---


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
    assert lines[3] == ["3", "OutOfMemory", "137", "attempts", "never", "made"]
    assert "the policy: failed after 2 of 3 attempts, 10s of waiting" in result.err


def test_simulate_takes_jobs_and_the_policy_of_a_spec(kjr_on: Kjr, stub: Stub, tmp_path: Path) -> None:
    spec = tmp_path / "job.yaml"
    spec.write_text("image: x\nresources: {memory: 3Gi}\nretry: {attempts: 9}\n")
    job_id = stub.add("ok")
    result = kjr_on("simulate", "-f", str(spec), job_id)
    assert stub.simulated[-1] == {"policy": {"attempts": 9}, "jobs": [job_id]}
    assert result.text.startswith("JOB ")
    assert "then another attempt, of which nothing is known" in result.err
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


# --- cancel ---


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
