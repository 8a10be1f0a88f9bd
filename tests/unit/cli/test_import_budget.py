"""What a command may import: `kjr --help` neither the server nor an HTTP library, `kjr list` no server and no rich on a pipe."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.cli.stub import TOKEN, Stub

OURS = "kube_job_runner"


CLIENT_SIDE = (f"{OURS}.cli", f"{OURS}.client", f"{OURS}.telemetry.safetext", f"{OURS}.domain.durations")
EMPTY_PACKAGES = {f"{OURS}.telemetry", f"{OURS}.domain"}
SET_GRAMMAR = {f"{OURS}.domain.spec", f"{OURS}.domain.spec.changes"}


CORPUS = Path(__file__).parents[2] / "fixtures" / "failure-messages.jsonl"
_PROBE = """
import json, sys
from kube_job_runner.cli import main
code = main.run(sys.argv[1:])
print("\\n@@" + json.dumps([code, sorted(sys.modules)]))
"""


def modules(*args: str, **environ: str) -> set[str]:
    """Return the modules that a command line has imported at its end."""
    done = subprocess.run(
        [sys.executable, "-c", _PROBE, *args], env={**os.environ, **environ}, capture_output=True, check=True, text=True
    )
    code, names = json.loads(done.stdout.rpartition("@@")[2])
    assert code == 0, done.stderr
    return set(names)


def server_side(names: set[str]) -> list[str]:
    """Return our modules that belong to the server, and the libraries that only it needs."""
    libraries = {"aiohttp", "asyncpg", "starlette", "uvicorn", "structlog", "prometheus_client", "uvloop"}
    ours = [
        name
        for name in names
        if name.startswith(f"{OURS}.") and not name.startswith(CLIENT_SIDE) and name not in EMPTY_PACKAGES
    ]
    return sorted([*ours, *(names & libraries)])


@pytest.mark.parametrize("args", [["--help"], ["--version"], ["run", "--help"], ["list", "--help"], ["up", "--help"]])
def test_help_imports_neither_server_nor_client(args: list[str]) -> None:
    names = modules(*args)
    assert server_side(names) == []
    heavy = {"httpx2", "httpcore2", "msgspec", "yaml", "rich", "asyncio", "ssl", "kube_job_runner.client"}
    assert sorted(names & heavy) == []


def test_the_help_of_all_commands_imports_none_of_them() -> None:
    commands = [name for name in modules("--help") if name.startswith(f"{OURS}.cli.commands")]
    assert commands == []


@pytest.mark.parametrize(
    "args",
    [
        ["list"],
        ["list", "-o", "json"],
        ["get", "ok"],
        ["run", "ok"],
        ["run", "--set", "resources.memory=2Gi", "ok"],
        ["version"],
        ["wait", "ok"],
        ["events", "ok"],
        ["explain", "@last"],
        ["rerun", "ok"],
        ["rerun", "ok", "--set", "resources.memory=2Gi"],
        ["submit"],
        ["simulate", "ok"],
        ["cancel", "ok"],
    ],
)
def test_commands_for_jobs_import_no_server(stub: Stub, tmp_path: Path, args: list[str]) -> None:
    stub.add("ok")
    if args == ["explain", "@last"]:
        modules("rerun", "ok", KJR_SERVER=stub.url, KJR_TOKEN=TOKEN)
    if args[0] in ("simulate", "submit"):
        file = tmp_path / "file.json"
        file.write_text('{"attempts": 2}' if args[0] == "simulate" else '{"image": "ok"}')
        args = [*args, "-f", str(file)]
    names = modules(*args, KJR_SERVER=stub.url, KJR_TOKEN=TOKEN)
    reads_specs = args[0] in ("submit", "simulate") or "--set" in args
    assert server_side(names - SET_GRAMMAR if reads_specs else names) == []
    assert sorted(names & {"rich", "yaml", "asyncio"}) == []


@pytest.mark.parametrize("args", [["explain", "OutOfMemory"], ["classify", str(CORPUS)]])
def test_neither_the_server_nor_an_http_library_is_imported(args: list[str]) -> None:
    names = modules(*args)
    heavy = {
        "asyncio",
        "ssl",
        "httpx2",
        "rich",
        "aiohttp",
        "asyncpg",
        "starlette",
        "structlog",
    }
    assert sorted(names & heavy) == []
    assert [name for name in names if name.startswith("kube_job_runner.adapters")] == []
    light = {"kube_job_runner.bootstrap", "kube_job_runner.bootstrap.rules"}
    assert {name for name in names if name.startswith("kube_job_runner.bootstrap")} <= light
