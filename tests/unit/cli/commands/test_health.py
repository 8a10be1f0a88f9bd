"""`kjr health`: whom it asks, and what it says of the answer."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator

import pytest

from tests.support.product import free_port
from tests.unit.cli.conftest import Kjr


class Probes(http.server.ThreadingHTTPServer):
    """A process that answers probes."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers = {"/livez": (200, "ok\n"), "/readyz?verbose": (200, "[+]database ok\n[+]schema ok\n")}
        self.asked: list[str] = []
        self.silent = threading.Event()
        self.silent.set()

    def handle_error(self, *_: object) -> None:
        """Say nothing: a client that hung up is what a test wanted."""


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers as its server was told."""

    server: Probes

    def do_GET(self) -> None:
        """Answer."""
        self.server.asked.append(self.path)
        self.server.silent.wait(timeout=10)
        status, body = self.server.answers[self.path]
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def probes() -> Iterator[Probes]:
    """Return a process that answers probes."""
    server = Probes()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.silent.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def both_ports(probes: Probes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the port of the web server to one where nobody answers, and the other to the probes."""
    monkeypatch.setenv("KJR_PORT", str(free_port()))
    monkeypatch.setenv("KJR_METRICS_PORT", str(probes.server_port))


def test_a_web_server_is_asked_on_its_port(kjr: Kjr, probes: Probes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KJR_PORT", str(probes.server_port))
    monkeypatch.setenv("KJR_METRICS_PORT", str(free_port()))
    for components in ([], ["web-server"], ["sweeper", "web-server"]):
        result = kjr("health", *components)
        assert (result.code, result.text, result.err) == (0, "[+]database ok\n[+]schema ok\n", "")
    assert probes.asked == ["/readyz?verbose"] * 3


@pytest.mark.usefixtures("both_ports")
def test_other_components_are_asked_on_theirs(kjr: Kjr, probes: Probes) -> None:
    assert kjr("health", "sweeper", "log-collector").code == 0
    assert kjr("health").code == 1
    assert probes.asked == ["/readyz?verbose"]


@pytest.mark.usefixtures("both_ports")
def test_live_asks_only_whether_it_lives(kjr: Kjr, probes: Probes) -> None:
    probes.answers["/readyz?verbose"] = (503, "[-]database no answer\n")
    result = kjr("health", "sweeper", "--live")
    assert (result.code, result.text) == (0, "ok\n")
    result = kjr("health", "sweeper")
    assert (result.code, result.text) == (1, "[-]database no answer\n")
    assert result.last_line.endswith("/readyz?verbose answers 503")
    assert kjr("health", "sweeper", "--quiet").out == b""


@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.1", "localhost"])
def test_who_listens_everywhere_is_asked_on_loopback(
    kjr: Kjr, probes: Probes, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KJR_HOST", host)
    monkeypatch.setenv("KJR_PORT", str(probes.server_port))
    assert kjr("health").code == 0


def test_no_answer_is_said_with_the_address(kjr: Kjr, monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    monkeypatch.setenv("KJR_PORT", str(port))
    monkeypatch.setenv("KJR_HOST", "[::]")
    result = kjr("health")
    assert result.code == 1
    assert f"http://[::1]:{port}/readyz?verbose does not answer" in result.last_line


@pytest.mark.usefixtures("both_ports")
def test_a_process_that_hangs_is_not_well(kjr: Kjr, probes: Probes) -> None:
    probes.silent.clear()
    result = kjr("health", "sweeper", "--timeout", "0.05")
    assert result.code == 1
    assert "does not answer: timed out" in result.last_line


@pytest.mark.parametrize(("port", "words"), [("-1", "means no port"), ("0", "any free port")])
def test_a_port_that_nobody_knows_is_a_fault_of_the_settings(
    kjr: Kjr, port: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KJR_METRICS_PORT", port)
    result = kjr("health", "sweeper")
    assert result.code == 2
    assert f"KJR_METRICS_PORT={port}" in result.last_line
    assert words in result.last_line
