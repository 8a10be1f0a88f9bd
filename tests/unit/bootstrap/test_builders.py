"""What the builders pass to the services."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from kube_job_runner.bootstrap import builders
from kube_job_runner.bootstrap.builders import Parts
from kube_job_runner.settings import load
from kube_job_runner.settings.groups import LogStoreSettings

RULES = '[{"pattern": "out of licen[cs]es", "verdict": "application", "category": "licence_missing"}]'


class _Anything:
    """Stands for a part of the process that is only passed on."""

    def __getattr__(self, name: str) -> str:
        return name


def test_the_web_server_explains_by_the_rules_of_the_installation(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "rules.json").write_text(RULES)
    settings = load({"failure_rules": tmp_path / "rules.json"}, {})
    given: dict[str, Any] = {}
    monkeypatch.setattr(builders, "build_app", lambda **arguments: given.update(arguments))
    parts = SimpleNamespace(settings=settings, pg=_Anything(), readiness=None)
    builders.web_app(cast("Parts", parts), clock=cast("Any", None), tracer=None)
    found = given["table"].classify("container.terminated", "Error", "Out of licences", exit_code=1)
    assert found is not None
    assert found.reason == "LicenceMissing"


@pytest.mark.parametrize(("address", "apart"), [("postgres", False), ("memory:///", True)])
def test_logs_are_in_postgresql_or_have_their_index_there(address: str, apart: bool) -> None:
    index: Any = _Anything()
    assert (builders.log_store(LogStoreSettings(address=address), index) is not index) is apart
