"""The stub server, and ways to run `kjr` against it: in this process, as a process, and on a terminal."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import kube_job_runner.bootstrap
from kube_job_runner.cli import main
from tests.unit.cli.stand_in import Bootstrap
from tests.unit.cli.stub import TOKEN, Stub


class Result(NamedTuple):
    """What a command did."""

    code: int
    out: bytes
    err: str

    @property
    def text(self) -> str:
        """Its stdout as text."""
        return self.out.decode()

    @property
    def json(self) -> Any:
        """Its stdout, which must be one JSON value."""
        return json.loads(self.out)

    @property
    def last_line(self) -> str:
        """The last line of stderr."""
        return self.err.rstrip("\n").rpartition("\n")[2]


@pytest.fixture
def stub() -> Iterator[Stub]:
    """Return a running stub server."""
    server = Stub()
    yield server
    server.close()


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Give the client a data directory of its own and no settings from outside."""
    for name in [*os.environ]:
        if name.startswith("KJR_") or name in ("NO_COLOR", "XDG_DATA_HOME"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("KJR_DATA_DIR", str(tmp_path / "data"))


class Kjr:
    """Runs `kjr` in this process."""

    def __init__(self, capture: pytest.CaptureFixture[bytes]) -> None:
        self._capture = capture

    def __call__(self, *args: str) -> Result:
        """Run a command line."""
        self._capture.readouterr()
        code = main.run([*args])
        out, err = self._capture.readouterr()
        return Result(code, out, err.decode())


@pytest.fixture
def kjr(capsysbinary: pytest.CaptureFixture[bytes]) -> Kjr:
    """Return a way to run `kjr` without a server."""
    return Kjr(capsysbinary)


@pytest.fixture
def kjr_on(kjr: Kjr, stub: Stub, monkeypatch: pytest.MonkeyPatch) -> Kjr:
    """Return a way to run `kjr` against the stub."""
    monkeypatch.setenv("KJR_SERVER", stub.url)
    monkeypatch.setenv("KJR_TOKEN", TOKEN)
    return kjr


@pytest.fixture
def bootstrap(monkeypatch: pytest.MonkeyPatch) -> Bootstrap:
    """Return the stand-in of the composition root."""
    module = Bootstrap()
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(kube_job_runner.bootstrap, "commands", module, raising=False)
    return module
