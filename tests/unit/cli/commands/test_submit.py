"""`kjr submit`: several jobs from files, refusals and waiting."""

from __future__ import annotations

from pathlib import Path

from tests.unit.cli.conftest import Kjr
from tests.unit.cli.stub import Stub


def test_submit_takes_documents_lists_and_sets(kjr_on: Kjr, stub: Stub, tmp_path: Path) -> None:
    many = tmp_path / "many.yaml"
    many.write_text("image: ok\ntimeouts: {run_seconds: 10m}\n---\n- image: hold\n- image: queue\n  env: {A: b}\n")
    single = tmp_path / "one.json"
    single.write_text('{"apiVersion": "kube-job-runner.io/v1", "kind": "Job", "image": "ok"}')
    result = kjr_on(
        "submit",
        "-f",
        str(many),
        "-f",
        str(single),
        "--set",
        "resources.cpu=2",
        "--set",
        "env.x.y=1",
        "--set",
        "args[0]=a",
    )
    assert result.code == 0, result.err
    assert result.text.split() == [*stub.jobs]
    assert [spec["image"] for spec in stub.specs.values()] == ["ok", "hold", "queue", "ok"]
    first, _, third, _ = stub.specs.values()
    assert first["timeouts"] == {"run_seconds": 600}
    assert first["resources"] == {"cpu": 2}
    assert first["args"] == ["a"]
    assert third["env"] == {"A": "b", "x.y": "1"}
    assert ("POST", "/v1/jobs:batch") in stub.requests


def test_refused_documents_do_not_hide_the_others(kjr_on: Kjr, stub: Stub, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("[{image: ok}, {image: bad}, {image: ok}]")
    result = kjr_on("submit", "-f", str(tmp_path / "f"))
    assert result.code == 1
    assert result.text.split() == [*stub.jobs]
    assert "job 2 was refused: bad image" in result.err
    assert "2 jobs submitted, 1 refused" in result.last_line


def test_submit_waits_for_several(kjr_on: Kjr, stub: Stub, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("[{image: ok}, {image: never-started}]")
    result = kjr_on("submit", "-f", str(tmp_path / "f"), "--wait", "-o", "json")
    assert result.code == 1
    assert [job["state"] for job in result.json] == ["succeeded", "failed"]
