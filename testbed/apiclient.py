"""A minimal API client: JSON in, JSON out. kubectl costs 0.2 s of CPU per call, too much for polling."""

import json
import re
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_POLL_SECONDS = 0.03
_SAMPLE = re.compile(r"^(?P<name>[a-zA-Z_:][\w:]*)(?:\{(?P<labels>.*)\})? (?P<value>\S+)")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


class NotReadyError(RuntimeError):
    """Something did not become ready in time, or died first."""


@dataclass(frozen=True)
class Answer:
    """One HTTP answer; `body` is the parsed JSON, or the text where it is not JSON."""

    status: int
    body: Any

    def require(self, *statuses: int) -> Any:
        """The body; raises RuntimeError with it unless the status is one of these."""
        if self.status not in statuses:
            raise RuntimeError(f"the API server answered {self.status}: {self.body}")
        return self.body


@dataclass(frozen=True)
class Sample:
    """One line of a Prometheus text."""

    name: str
    labels: Mapping[str, str]
    value: float


class Api:
    """A client for one user. It opens a connection per request, so a restarted server is no special case."""

    def __init__(self, url: str, token: str, ca_file: Path) -> None:
        self._url = url
        self._token = token
        self._tls = ssl.create_default_context(cafile=str(ca_file))

    def __call__(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        content_type: str = "application/json",
        timeout_seconds: float = 10,
    ) -> Answer:
        """Raises OSError (TimeoutError included) when no answer comes."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": content_type}
        request = urllib.request.Request(self._url + path, data, method=method, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=timeout_seconds, context=self._tls) as response:
                return _answer(response.status, response.read())
        except urllib.error.HTTPError as error:
            with error:
                return _answer(error.code, error.read())
        except urllib.error.URLError as error:
            raise error.reason if isinstance(error.reason, OSError) else error from None

    def get_status(self, path: str) -> int:
        """The status code, or 0 when nothing answers: for polling."""
        try:
            return self("GET", path, timeout_seconds=2).status
        except OSError:
            return 0


def wait_until(
    what: str, check: Callable[[], object], *, limit_seconds: float, alive: Callable[[], None] = lambda: None
) -> None:
    """Polls `check` until it is true; a refused connection counts as not yet.

    `alive` may raise to end the wait early, when the server has died.
    """
    deadline = time.monotonic() + limit_seconds
    while True:
        alive()
        try:
            if check():
                return
        except OSError:
            pass
        if time.monotonic() > deadline:
            raise NotReadyError(f"{what}: not ready after {limit_seconds:g} s")
        time.sleep(_POLL_SECONDS)


def parse_metrics(text: str) -> Iterator[Sample]:
    for line in text.splitlines():
        if match := _SAMPLE.match(line):
            labels = dict(_LABEL.findall(match["labels"] or ""))
            yield Sample(match["name"], labels, float(match["value"]))


def _answer(status: int, raw: bytes) -> Answer:
    try:
        return Answer(status, json.loads(raw))
    except ValueError:
        return Answer(status, raw.decode(errors="replace"))
