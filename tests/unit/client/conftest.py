"""A scripted API behind both clients, so that every test of the client runs on the sync and on the async one."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest

from kube_job_runner.client import AsyncClient, Client, RetryPolicy

JOB_ID = "019ac7d3-5b5e-7c1a-8000-000000000001"


def job(state: str = "queued", version: int = 1, **more: Any) -> dict[str, Any]:
    """Return a job as the API shows it."""
    started = "2026-01-01T00:00:01Z" if state not in ("queued", "starting") else None
    ended = "2026-01-01T00:00:05Z" if state in ("succeeded", "failed", "cancelled") else None
    return {
        "id": JOB_ID,
        "name": "hello",
        "state": state,
        "version": version,
        "queue": "default",
        "namespace": "default",
        "priority": 0,
        "labels": {},
        "attempt": 0 if state == "queued" else 1,
        "reason": None,
        "explanation": None,
        "exit_code": None,
        "created_at": "2026-01-01T00:00:00Z",
        "due_at": "2026-01-01T00:00:00Z",
        "started_at": started,
        "finished_at": ended,
        "cancel": None,
        **more,
    }


class Clock:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        """Return the time."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Move the time."""
        self.slept.append(seconds)
        self.now += seconds

    async def sleep_async(self, seconds: float) -> None:
        """Move the time."""
        self.sleep(seconds)


Answer = httpx2.Response | Exception | Callable[[httpx2.Request], httpx2.Response]


class Script:
    """Answers to give, in order; the requests that came are kept. One answer too few is a test failure."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.answers: list[Answer] = []
        self.requests: list[httpx2.Request] = []

    def add(self, *answers: Answer | dict[str, Any]) -> None:
        """Add answers; a dict is a 200 with it."""
        self.answers += [httpx2.Response(200, json=a) if isinstance(a, dict) else a for a in answers]

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        """Answer a request."""
        self.requests.append(request)
        assert self.answers, f"unexpected request: {request.method} {request.url}"
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, httpx2.Response):
            return httpx2.Response(answer.status_code, headers=answer.headers, content=answer.content)
        return answer(request)

    async def call_async(self, request: httpx2.Request) -> httpx2.Response:
        """Answer a request of the async client."""
        return self(request)


class Driver:
    """Calls a client's methods by name, whichever client it is."""

    def __init__(self, kind: str, script: Script) -> None:
        self.kind = kind
        self.script = script

    def _client(self, **options: Any) -> Any:
        common: dict[str, Any] = {"monotonic": self.script.clock.monotonic, **options}
        if self.kind == "sync":
            transport = httpx2.MockTransport(self.script)
            return Client("http://kjr.test", "secret", transport=transport, sleep=self.script.clock.sleep, **common)
        transport = httpx2.MockTransport(self.script.call_async)
        return AsyncClient(
            "http://kjr.test", "secret", transport=transport, sleep=self.script.clock.sleep_async, **common
        )

    def call(
        self, name: str, /, *args: Any, retry: RetryPolicy | None = None, outage_seconds: float = 600, **kwargs: Any
    ) -> Any:
        """Call a method; what it yields, if it does, comes as a list."""
        client = self._client(retry=retry, outage_seconds=outage_seconds)
        if self.kind == "sync":
            with client:
                result = getattr(client, name)(*args, **kwargs)
                return list(result) if isinstance(result, Iterator) else result
        # Not asyncio.run: it replaces the current loop, which belongs to pytest-asyncio here.
        with contextlib.closing(asyncio.new_event_loop()) as loop:
            return loop.run_until_complete(self._call_async(client, name, args, kwargs))

    async def _call_async(self, client: AsyncClient, name: str, args: Any, kwargs: Any) -> Any:
        async with client:
            result = getattr(client, name)(*args, **kwargs)
            if hasattr(result, "__aiter__"):
                return [item async for item in result]
            return await result


@pytest.fixture
def clock() -> Clock:
    """Return a clock that only sleeping moves."""
    return Clock()


@pytest.fixture
def script(clock: Clock) -> Script:
    """Return an empty script."""
    return Script(clock)


@pytest.fixture(params=["sync", "async"])
def client(request: pytest.FixtureRequest, script: Script) -> Driver:
    """Return a driver of each client."""
    return Driver(request.param, script)
