"""`kjr health`, `kjr config show` and `kjr config check`."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator

import pytest

from kube_job_runner.cli import main


class Answers(http.server.BaseHTTPRequestHandler):
    status = 200

    def do_GET(self) -> None:
        body = {"/readyz?verbose": b"[+]database ok\n\x1b[2Jready\n", "/livez": b"ok\n"}[self.path]
        self.send_response(type(self).status)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def port() -> Iterator[int]:
    Answers.status = 200
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    thread.join()
    server.server_close()


def test_health_is_asked_where_the_settings_say(
    port: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KJR_HOST", "0.0.0.0")
    monkeypatch.setenv("KJR_PORT", str(port))
    assert main.invoke("health") == 0
    assert capsys.readouterr().out == "[+]database ok\n\\e[2Jready\n", "nothing that drives a terminal"
    monkeypatch.setenv("KJR_PORT", "1")
    monkeypatch.setenv("KJR_METRICS_PORT", str(port))
    assert main.invoke("health", "--live") == 0
    assert capsys.readouterr().out == "ok\n"


def test_health_of_what_is_not_ready_or_not_there(port: int, capsys: pytest.CaptureFixture[str]) -> None:
    Answers.status = 503
    assert main.invoke("health", "--url", f"http://127.0.0.1:{port}") == 1
    assert "[+]database ok" in capsys.readouterr().out
    assert main.invoke("health", "--url", "http://127.0.0.1:1") == 1
    assert "http://127.0.0.1:1/readyz?verbose does not answer" in capsys.readouterr().err
    assert main.invoke("health", "--url", "file:///etc/passwd") == 2


def test_config_show_leaves_out_passwords(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("KJR_DATABASE_URL", "postgresql://kjr:pa55word@db/kjr")
    assert main.invoke("config", "show", "--changed") == 0
    assert "KJR_DATABASE_URL=postgresql://***@db/kjr\n" in capsys.readouterr().out
    assert main.invoke("config", "show") == 0
    assert "KJR_PORT=8080" in capsys.readouterr().out


def test_config_check(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.invoke("config", "check") == 0
    monkeypatch.setenv("KJR_PROT", "1")
    assert main.invoke("config", "check") == 1
    assert "the variable KJR_PROT is not known (did you mean KJR_PORT?)" in capsys.readouterr().err
    monkeypatch.setenv("KJR_PORT", "eighty")
    assert main.invoke("config", "check") == 1
    assert "KJR_PORT=" in capsys.readouterr().err
    monkeypatch.delenv("KJR_PROT")
    monkeypatch.delenv("KJR_PORT")
    monkeypatch.setenv("KJR_FAILURE_RULES", "/nowhere/rules.yaml")
    assert main.invoke("config", "check") == 1
