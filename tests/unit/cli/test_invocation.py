"""Messages on stderr."""

from __future__ import annotations

import pytest

from kube_job_runner.cli.invocation import Invocation


def test_nothing_is_said_about_connections_that_we_close_ourselves(monkeypatch: pytest.MonkeyPatch) -> None:
    invocation = Invocation()
    said: list[str] = []
    monkeypatch.setattr(invocation, "say", said.append)
    invocation._on_retry("cannot reach the server", 0.1)
    invocation.ending = True
    invocation._on_retry("[Errno 9] Bad file descriptor", 0.1)
    assert said == ["kjr: cannot reach the server; retrying in 0.1s"]
