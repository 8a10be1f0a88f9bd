"""Where the client looks for its server, and what it never does with a token."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from kube_job_runner import client as sdk
from kube_job_runner.client import connection
from kube_job_runner.settings import Settings, load


def write(folder: Path, **content: object) -> dict[str, str]:
    """Write a connection file and return the environment that leads to it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "connection.json").write_text(json.dumps(content))
    return {"KJR_DATA_DIR": str(folder)}


def test_arguments_beat_the_environment_which_beats_the_file(tmp_path: Path) -> None:
    environ = write(tmp_path, url="http://file:1", token="f")
    assert connection.discover(environ=environ) == sdk.Connection("http://file:1", "f")
    environ |= {"KJR_SERVER": "http://env:2/", "KJR_TOKEN": "e"}
    assert connection.discover(environ=environ) == sdk.Connection("http://env:2", "e")
    assert connection.discover("https://arg:3", "a", environ=environ) == sdk.Connection("https://arg:3", "a")


def test_the_token_of_the_file_goes_to_no_other_server(tmp_path: Path) -> None:
    environ = write(tmp_path, url="http://127.0.0.1:8080", token="f")
    assert connection.discover("http://evil:1", environ=environ).token is None
    assert connection.discover("http://127.0.0.1:8080/", environ=environ).token == "f"


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"url": 5}'])
def test_a_broken_file_is_as_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "connection.json").write_text(content)
    with pytest.raises(sdk.NotConfigured, match="kjr up"):
        connection.discover(environ={"KJR_DATA_DIR": str(tmp_path)})


@pytest.mark.parametrize("url", ["", "host:80", "ftp://host", "http://", "http://u:p@host", "http://host:port"])
def test_a_wrong_url_is_refused(url: str) -> None:
    with pytest.raises(sdk.NotConfigured):
        connection.check_url(url)


def test_the_data_directory_is_that_of_the_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("KJR_DATA_DIR", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert connection.data_dir() == Settings().process.data_dir
    monkeypatch.setenv("KJR_DATA_DIR", "~/elsewhere")
    assert connection.data_dir() == load().process.data_dir


@pytest.mark.parametrize(
    ("url", "loopback"),
    [("http://127.0.0.1:1", True), ("http://localhost", True), ("http://[::1]:1", True), ("http://127.example", False)],
)
def test_proxies_of_the_environment_are_not_for_loopback(url: str, loopback: bool) -> None:
    assert sdk.Connection(url).loopback is loopback


def test_the_package_offers_the_sdk_without_importing_it() -> None:
    code = (
        "import sys, kube_job_runner; assert 'httpx2' not in sys.modules\n"
        "from kube_job_runner import AsyncClient, Client, JobFailed; assert 'httpx2' in sys.modules\n"
        "assert {'Client', 'AsyncClient', 'JobFailed'} <= set(dir(kube_job_runner))\n"
        "server = [m for m in sys.modules if m.startswith('kube_job_runner.')\n"
        "          and not m.startswith('kube_job_runner.client')]; assert not server, server"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_unknown_name_of_the_package_is_an_attribute_error() -> None:
    import kube_job_runner

    with pytest.raises(AttributeError, match="nothing"):
        _ = kube_job_runner.nothing  # type: ignore[attr-defined]
