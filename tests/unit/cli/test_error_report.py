"""Errors become one message and an exit code; bugs keep their traceback."""

from __future__ import annotations

import pytest

from kube_job_runner.domain.errors import ConfigurationError, DatabaseUnavailable
from tests.unit.cli.conftest import Kjr
from tests.unit.cli.stand_in import Bootstrap


@pytest.mark.parametrize(
    ("error", "code"), [(ConfigurationError("the directory is in use"), 2), (DatabaseUnavailable("no answer"), 1)]
)
def test_refusals_are_messages_not_tracebacks(kjr: Kjr, bootstrap: Bootstrap, error: Exception, code: int) -> None:
    bootstrap.error = error
    for args in (["up"], ["serve"], ["migrate"], ["token", "list"]):
        result = kjr(*args)
        assert result.code == code
        assert result.last_line == f"kjr: {error}"
        assert "Traceback" not in result.err


def test_a_bug_keeps_its_traceback(kjr: Kjr, bootstrap: Bootstrap) -> None:
    bootstrap.error = ZeroDivisionError("a bug")
    result = kjr("up")
    assert result.code == 1
    assert "Traceback" in result.err
    assert "ZeroDivisionError: a bug" in result.err
