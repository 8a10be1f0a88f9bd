"""`kjr explain`: a job with its evidence, and reason codes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kube_job_runner.cli import main
from kube_job_runner.cli.commands import explain
from kube_job_runner.domain.failures import categories
from tests.unit.cli.conftest import Kjr
from tests.unit.cli.evidence import EVIDENCE
from tests.unit.cli.stub import Stub

EXPLAINED = """\
Failed on node n1: the program\\e[31m was killed.

attempt 1: ✗ failed, NodePressureEvicted
  why          Evicted.
  at fault     the cluster (infrastructure)
  charged to   infrastructure
  then         free retry 1 of 5 follows

attempt 2: ✗ failed, OutOfMemory
  why          Container main used more memory than 1Gi.
  exit code    137 (signal 9)
  at fault     the program (application)
  charged to   attempts
  then         no retry: it was attempt 1 of 1
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

contrary evidence that came later; it did not change the state
  attempt 2    2026-01-01 00:00:15 CompletedLater: it completed
missing: the node cannot be read now

job {id}: ✗ failed; its log: kjr logs --tail 50 {id}; this reason: kjr explain OutOfMemory; run it again: kjr rerun {id}
"""


def test_explain_prints_the_sentence_and_then_the_evidence(kjr_on: Kjr, stub: Stub) -> None:
    job_id = stub.add("ok")
    stub.explanations[job_id] = EVIDENCE
    result = kjr_on("explain", "--evidence", job_id)
    assert (result.code, result.err) == (0, "")
    assert result.text == EXPLAINED.replace("{id}", job_id)
    assert kjr_on("explain", job_id, "-o", "json").json["attempts"] == EVIDENCE["attempts"]


SHORT = """\
Failed on node n1: the program\\e[31m was killed.

attempt 1: ✗ failed, NodePressureEvicted
attempt 2: ✗ failed, OutOfMemory, exit 137, ran 14s, on n1
last lines of main
  | one
  | two\\e[2J

what to do
  - Give it more memory.
missing: the node cannot be read now

job {id}: ✗ failed; its log: kjr logs --tail 50 {id}; this reason: kjr explain OutOfMemory; run it again: kjr rerun {id}; \
all evidence: kjr explain --evidence {id}
"""


def test_explain_answers_on_one_screen(kjr_on: Kjr, stub: Stub) -> None:
    job_id = stub.add("ok")
    stub.explanations[job_id] = EVIDENCE | {"remedy": ["Give it more memory."]}
    assert kjr_on("explain", job_id).text == SHORT.replace("{id}", job_id)
    many = [{"number": number, "last_lines": [{"container": "main", "lines": ["x"] * 50}]} for number in range(1, 8)]
    stub.explanations[job_id] = EVIDENCE | {"attempts": many}
    shown = kjr_on("explain", job_id).text.splitlines()
    assert "4 earlier attempts" in shown[2]
    assert len(shown) <= 24


@pytest.mark.parametrize(
    ("word", "code"),
    [
        ("OOM", "OutOfMemory"),
        ("oomkilled", "OutOfMemory"),
        ("CrashLoopBackOff", "ApplicationExit"),
        ("ErrImageNeverPull", "ImageNotFound"),
    ],
)
def test_a_word_of_kubernetes_leads_to_its_reason(word: str, code: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["explain", word]) == 0
    assert f"{code}: {categories.find(code).title}" in capsys.readouterr().out  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("word", "codes"),
    [
        ("ImagePullBackOff", ["ImageNotFound", "ImageUnauthorized", "RegistryUnavailable"]),
        ("BackoffLimitExceeded", ["ApplicationExit", "OutOfMemory", "NodeLost"]),
        ("Evicted", ["NodePressureEvicted", "EphemeralStorageExceeded"]),
        ("137", ["OutOfMemory", "KilledBySignal"]),
        ("127", ["CommandNotFound", "ApplicationExit"]),
    ],
)
def test_a_word_with_several_meanings_names_them(
    word: str, codes: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run(["explain", word]) == 0
    shown = capsys.readouterr().out
    assert all(f"  {code} " in shown for code in codes)
    assert main.run(["explain", word, "-o", "json"]) == 0
    assert set(codes) <= {one["code"] for one in json.loads(capsys.readouterr().out)["codes"]}


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


def answers(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """Return the answers printed so far."""
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize("category", categories.CATEGORIES, ids=[category.name for category in categories.CATEGORIES])
def test_every_category_is_explained(category: categories.Category, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["explain", category.code]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"{category.code}: {category.title}\n")
    for part in ("Whose it is:", "What to do:", "What is done about it:"):
        assert part in shown


def test_an_explanation_as_data(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["explain", "image-not-found", "-o", "json"]) == 0
    page = json.loads(capsys.readouterr().out)
    assert page["code"] == "ImageNotFound"
    assert page["category"]["name"] == "image_not_found"
    assert "pull-not-found" in [signal["rule"] for signal in page["signals"]]


def test_without_a_code_all_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["explain"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(categories.CATEGORIES)
    assert main.run(["explain", "-o", "jsonl"]) == 0
    assert [row["code"] for row in answers(capsys)] == [category.code for category in categories.CATEGORIES]


def test_an_unknown_code_is_not_found_and_near_ones_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["explain", "ImageNotFond\x1b"]) == 3
    shown = capsys.readouterr().err
    assert "Did you mean ImageNotFound" in shown
    assert "\x1b" not in shown
    assert main.run(["explain", "zzzz"]) == 3
    assert "Did you mean" not in capsys.readouterr().err
