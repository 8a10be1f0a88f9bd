"""`--set` means the same in run, submit and rerun; what cannot be meant is refused before anything is sent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kube_job_runner.domain.spec import changes
from tests.unit.cli.conftest import Kjr, Result
from tests.unit.cli.stub import Stub

VERBS = ("run", "submit", "rerun")


BASE: dict[str, Any] = {"image": "ok", "resources": {"cpu": "1"}}


class Setter:
    """Runs a verb on a job of the base spec."""

    def __init__(self, kjr: Kjr, stub: Stub, folder: Path) -> None:
        self._kjr = kjr
        self._stub = stub
        self._file = folder / "job.json"
        self._file.write_text(json.dumps(BASE))
        self._old = stub.add("ok")
        stub.specs[self._old] = BASE
        stub.requests.clear()

    def __call__(self, verb: str, *assignments: str) -> Result:
        """Run a verb with `--set` for each assignment."""
        sets = [word for assignment in assignments for word in ("--set", assignment)]
        if verb == "run":
            return self._kjr("run", "-d", "--cpu", "1", *sets, "ok")
        return self._kjr(*(["submit", "-f", str(self._file)] if verb == "submit" else ["rerun", self._old]), *sets)

    def spec(self, verb: str) -> dict[str, Any]:
        """Return the spec of the new job. For a rerun it is made as the server makes it."""
        if verb == "rerun":
            changed, faults = changes.apply(BASE, self._stub.reruns[0]["set"])
            assert faults == []
            return changed
        return [*self._stub.specs.values()][-1]


@pytest.fixture
def setter(kjr_on: Kjr, stub: Stub, tmp_path: Path) -> Setter:
    """Return a way to run the verbs."""
    return Setter(kjr_on, stub, tmp_path)


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(
    ("spellings", "expected"),
    [
        (("resources.memory=2Gi", "/resources/memory=2Gi"), {"resources": {"cpu": "1", "memory": "2Gi"}}),
        (("args[0]=7", "/args/0=7", "args.0=7"), {"args": [7]}),
        (("env.A.b=1", "/env/A.b=1"), {"env": {"A.b": "1"}}),
        (("labels.example.com/x=null", "/labels/example.com~1x=null"), {"labels": {"example.com/x": "null"}}),
        (("timeouts.run_seconds=10m", "/timeouts/run_seconds=10m"), {"timeouts": {"run_seconds": 600}}),
        (("env.wait_seconds=10m", "/env/wait_seconds=10m"), {"env": {"wait_seconds": "10m"}}),
        (("retry.rules[0].action=fail", "/retry/rules/0/action=fail"), {"retry": {"rules": [{"action": "fail"}]}}),
        (("priority=5", "/priority=5"), {"priority": 5}),
        (("queue=null", "/queue=null"), {}),
        (('secrets=[{"env":"A"}]', '/secrets=[{"env":"A"}]'), {"secrets": [{"env": "A"}]}),
        (("a_new_field.x=true", "/a_new_field/x=true"), {"a_new_field": {"x": True}}),
    ],
)
def test_both_spellings_mean_the_same_in_all_verbs(
    setter: Setter, stub: Stub, verb: str, spellings: tuple[str, ...], expected: dict[str, Any]
) -> None:
    for spelling in spellings:
        stub.reruns.clear()
        assert setter(verb, spelling).code in (0, 1)  # the stub refuses a rerun with a priority
        assert setter.spec(verb) == {**BASE, **expected}, spelling


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(
    ("assignments", "message"),
    [
        (["resources..memory=2Gi"], "--set resources..memory: is not a path"),
        (["/resources//memory=2Gi"], "--set /resources//memory: is not a JSON pointer"),
        (["/=2Gi"], "--set /: is not a JSON pointer"),
        (["queue=a", "queue=b"], "--set queue: /queue is set twice"),
        (["resources.memory=1Gi", "/resources/memory=2Gi"], "--set /resources/memory: /resources/memory is set twice"),
        (["timeouts.run_seconds=soon"], "--set timeouts.run_seconds: 'soon' is not a duration"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    setter: Setter, stub: Stub, verb: str, assignments: list[str], message: str
) -> None:
    result = setter(verb, *assignments)
    assert result.code == (125 if verb == "run" else 2)
    assert message in result.err
    assert stub.requests == []


@pytest.mark.parametrize("verb", ["run", "submit"])
@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("image.tag", "/image is neither an object nor a list"),
        ("/image/tag", "/image is neither an object nor a list"),
        ("args[1]", "/args is a list of 0"),
    ],
)
def test_a_path_that_leads_nowhere_is_refused(setter: Setter, stub: Stub, verb: str, path: str, message: str) -> None:
    result = setter(verb, f"{path}=x")
    assert result.code == (125 if verb == "run" else 2)
    assert f"--set {path}: {message}" in result.err
    assert stub.requests == []


@pytest.mark.parametrize(
    ("args", "assignment", "pointer"),
    [
        (["--memory", "1Gi"], "resources.memory=2Gi", "/resources/memory"),
        (["--memory", "1Gi"], "/resources/memory=2Gi", "/resources/memory"),
        (["--memory", "1Gi"], 'resources={"cpu": 1}', "/resources"),
        (["--memory", "1Gi"], "resources.memory=null", "/resources/memory"),
        (["-e", "A=1"], "env.A=2", "/env/A"),
        (["--secret", "A=s:k"], "secrets[0].key=x", "/secrets/0/key"),
        (["--retries", "2"], "retry.attempts=5", "/retry/attempts"),
        (["ok", "echo"], "command[0]=sh", "/command/0"),
        ([], "image=other", "/image"),
    ],
)
def test_run_refuses_a_field_that_an_option_sets_too(
    kjr_on: Kjr, stub: Stub, args: list[str], assignment: str, pointer: str
) -> None:
    result = kjr_on("run", "--set", assignment, *args, *([] if "ok" in args else ["ok"]))
    assert result.code == 125
    assert f"{pointer} is set by an argument or another option too; set it once" in result.err
    assert stub.requests == []


def test_run_adds_to_what_the_options_set(kjr_on: Kjr) -> None:
    spec = kjr_on(
        "run", "-e", "A=1", "--cpu", "2", "--secret", "T=s:k", "--dry-run", "-o", "json",
        "--set", "env.B=2", "--set", "resources.memory=1Gi", "--set", 'secrets[1]={"env": "U"}', "ok", "--", "x",
    ).json  # fmt: skip
    assert spec == {
        "image": "ok",
        "command": ["x"],
        "env": {"A": "1", "B": "2"},
        "resources": {"cpu": "2", "memory": "1Gi"},
        "secrets": [{"env": "T", "name": "s", "key": "k"}, {"env": "U"}],
    }


def test_run_with_set_lets_the_server_refuse_unknown_fields(kjr_on: Kjr, stub: Stub) -> None:
    for args, path in (([], "/v1/jobs"), (["--set", "resorces.memory=2Gi"], "/v1/jobs?strict=true")):
        for detach in ([], ["-d"]):
            stub.requests.clear()
            kjr_on("run", *detach, *args, "ok")
            assert stub.requests[0] == ("POST", path)


@pytest.mark.parametrize("path", ["args[5]=x", "image.x=1", "..=1", "a[0]b=1", "resources[0]=1"])
def test_a_set_that_leads_nowhere_says_so(kjr: Kjr, tmp_path: Path, path: str) -> None:
    (tmp_path / "f").write_text("image: a\nresources: {cpu: 1}\n")
    result = kjr("submit", "-f", str(tmp_path / "f"), "--dry-run", "--set", path)
    assert (result.code, result.out) == (2, b"")
