"""The whole web application over ports in memory, called without a socket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import httpx2
import pytest
import pytest_asyncio

from kube_job_runner.settings import load
from kube_job_runner.web.app import WebApp, build_app
from kube_job_runner.web.auth import new_token
from tests.unit.web.fakes import FakeClock, FakeHealth, FakeLogs, FakeStore, FakeTokens, FakeWakeup


class World:
    """The application, its ports, and a token that it knows."""

    def __init__(self, **settings: Any) -> None:
        self.clock = FakeClock()
        self.store = FakeStore()
        self.tokens = FakeTokens()
        self.health = FakeHealth()
        self.wakeup = FakeWakeup()
        self.logs = FakeLogs()
        self.secret, token = new_token("tester")
        self.tokens.tokens[token.token_hash] = token
        self.settings = load(settings, {})
        self.url = "http://localhost:8080" if self.settings.web.auth == "none" else "http://kjr.test"
        self.app: WebApp = build_app(
            settings=self.settings,
            submit_store=self.store,
            reader=self.store,
            tokens=self.tokens,
            health=self.health,
            wakeup=self.wakeup,
            logs=self.logs,
            clock=self.clock,
        )

    def client(self, *, token: bool = True) -> httpx2.AsyncClient:
        headers = {"Authorization": f"Bearer {self.secret}"} if token else {}
        transport = httpx2.ASGITransport(app=self.app, raise_app_exceptions=True)
        return httpx2.AsyncClient(transport=transport, base_url=self.url, headers=headers)


@pytest.fixture
def world() -> World:
    return World()


@pytest_asyncio.fixture
async def client(world: World) -> AsyncIterator[httpx2.AsyncClient]:
    async with world.client() as client:
        yield client


async def submit(client: httpx2.AsyncClient, **fields: Any) -> UUID:
    """Submit a job, and return its id."""
    response = await client.post("/v1/jobs", json={"image": "busybox", **fields})
    assert response.status_code == 201, response.text
    return UUID(response.json()["id"])
