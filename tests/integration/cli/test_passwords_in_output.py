"""No command prints the password of the database, whatever its spelling and whatever goes wrong."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import cast

import pytest

from kube_job_runner import settings
from kube_job_runner.adapters.postgres.pool import Pool
from kube_job_runner.adapters.postgres.server_health import PostgresHealth
from kube_job_runner.cli import main
from tests.integration.cli.conftest import KJR

SPELLINGS = {
    "in the query": "postgresql://kjr@127.0.0.1:1/jobs?password=Zq7-topsecret-Xj9",
    "with / and @": "postgresql://kjr:Zq7/top@secret:Xj9@127.0.0.1:1/jobs",
    "key=value": "host=127.0.0.1 port=1 dbname=jobs user=kjr password='Zq7 top secret Xj9'",
    "unreadable": "postgresql://kjr:Zq7-topsecret-Xj9#127.0.0.1:1/jobs",
}
COMMANDS = (
    ["config"],
    ["config", "show"],
    ["config", "show", "--changed"],
    ["config", "check"],
    ["doctor"],
    ["migrate"],
    ["token", "list"],
    ["serve"],
    ["up", "--port", "0"],
)


def _environ(url: str, data: Path) -> dict[str, str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("KJR_")}
    return {**clean, "KJR_DATABASE_URL": url, "KJR_DATA_DIR": str(data), "KJR_CLUSTER": "local"}


@pytest.mark.parametrize("url", SPELLINGS.values(), ids=SPELLINGS.keys())
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_command_prints_no_part_of_the_password(command: list[str], url: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [*KJR, *command],
        env=_environ(url, tmp_path),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )
    said = done.stdout + done.stderr
    assert said, "it says something"
    assert not any(part in said for part in ("Zq7", "Xj9", "secret"))
    assert "Traceback" not in said


def test_a_crash_prints_no_password(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    url = SPELLINGS["in the query"]
    monkeypatch.setenv("KJR_DATABASE_URL", url)

    def crash(*_: object, **__: object) -> None:
        raise RuntimeError(f"it went wrong with {url}")

    monkeypatch.setattr(settings, "shown", crash)
    assert main.run(["config", "show"]) == 1
    said = capsys.readouterr().err
    assert "RuntimeError: it went wrong with postgresql://kjr@127.0.0.1:1/jobs?password=***" in said
    assert "Zq7" not in said


@pytest.mark.asyncio
async def test_readiness_names_no_host_and_no_password() -> None:
    for spelling in ("in the query", "with / and @", "key=value"):
        url = settings.load(environ={"KJR_DATABASE_URL": SPELLINGS[spelling]}).database.url
        assert url is not None
        health = PostgresHealth(cast("Pool", None), url)
        assert await health.check() == {
            "database": "the database does not answer",
            "schema": "unknown: the database does not answer",
        }
