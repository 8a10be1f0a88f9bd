"""Schemathesis: nothing that the served document allows or forbids finds an answer that it does not describe."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.parameters import ParameterLocation
from schemathesis.generation.feedback import FeedbackSources
from schemathesis.pytest._test_builder import build_operation_test
from schemathesis.python._constants.orchestrator import make_constants_value_source
from schemathesis.schemas import APIOperation, BaseSchema
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    positive_data_acceptance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from kube_job_runner.adapters import postgres
from kube_job_runner.components.web_server import run
from kube_job_runner.settings import load
from kube_job_runner.web.app import build_app
from kube_job_runner.web.auth import new_token
from tests.support.clocks import SystemClock
from tests.support.postgres import Server
from tests.unit.web.fakes import FakeLogs

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    unsupported_method,
]
# For a job spec these two do not hold: rules across its fields (and the grammar of an image) are no JSON Schema.
EXACT = [*CHECKS, positive_data_acceptance, negative_data_rejection]


class _Background:
    """The web server on PostgreSQL in a thread of its own: schemathesis is synchronous."""

    def __init__(self, database_url: str) -> None:
        self.secret = ""
        self.url = ""
        self._database_url = database_url
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._up = threading.Event()
        self._thread = threading.Thread(target=self._run, name="web-server")

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._up.set()
            self._loop.close()

    async def _serve(self) -> None:
        pg = await postgres.connect(self._database_url)
        try:
            self.secret, token = new_token("schemathesis")
            await pg.token_store.add_token(token)
            config = load({"port": 0, "wait_max_seconds": 0.05, "drain_seconds": 1}, {})
            app = build_app(
                settings=config,
                submit_store=pg.submit_store,
                reader=pg.job_reader,
                tokens=pg.token_store,
                health=pg.health,
                wakeup=pg.wakeup,
                logs=FakeLogs(),
                clock=SystemClock(),
            )
            await run(app, config, self._stop, self._ready)
        finally:
            await pg.close()

    def _ready(self, url: str) -> None:
        self.url = url
        self._up.set()

    def __enter__(self) -> _Background:
        self._thread.start()
        assert self._up.wait(30)
        assert self.url, "the server did not start"
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(30)


@pytest.fixture(scope="module")
def server(pg_server: Server) -> Iterator[_Background]:
    database_url = pg_server.create_database()
    with _Background(database_url) as background:
        yield background
    pg_server.drop_database(database_url)


# The committed document is the served one: another test holds that.
DOCUMENT = Path(__file__).parents[3] / "docs" / "openapi.json"


COMMON: dict[str, Any] = {
    "derandomize": True,
    "deadline": None,
    "database": None,
    "phases": [Phase.explicit, Phase.generate],
    "suppress_health_check": list(HealthCheck),
}


def _call(case: Any, server: _Background, checks: list[Any]) -> None:
    header = case.meta.components.get(ParameterLocation.HEADER)
    if header is not None and header.mode is GenerationMode.NEGATIVE:
        checks = CHECKS  # a missing token may be what is wrong, and the next line puts it in
    case.call_and_validate(
        base_url=server.url, checks=checks, headers={"Authorization": f"Bearer {server.secret}"}, timeout=30
    )


def _paths(method: str) -> list[str]:
    document = json.loads(DOCUMENT.read_text())
    return [path for path, operations in document["paths"].items() if method in operations]


@pytest.fixture(scope="module")
def schema() -> BaseSchema:
    return schemathesis.openapi.from_path(DOCUMENT)


def _call_all(operation: APIOperation, test: Callable[[Any], None]) -> None:
    """Run a test on every case of an operation.

    `schema.parametrize()` would make all cases while tests are collected: seconds of each process, whatever it runs.
    """
    constants = FeedbackSources(constants_value_source=make_constants_value_source(operation.schema))
    with _unmeasured():
        build_operation_test(
            config=operation.schema.config, operation=operation, test_func=test, given_kwargs={}, feedback=constants
        )()


@contextlib.contextmanager
def _unmeasured() -> Iterator[None]:
    """Measure no coverage of this thread, which runs nothing of the product but costs five times as much when it is measured."""
    trace = sys.gettrace()
    sys.settrace(None)
    try:
        yield
    finally:
        sys.settrace(trace)


@pytest.mark.parametrize("path", _paths("get"))
def test_reading(path: str, schema: BaseSchema, server: _Background) -> None:
    @settings(max_examples=20, **COMMON)
    def test(case: Any) -> None:
        _call(case, server, EXACT)

    _call_all(schema[path]["get"], test)


@pytest.mark.parametrize("path", _paths("post"))
def test_writing(path: str, schema: BaseSchema, server: _Background) -> None:
    @settings(max_examples=12, **COMMON)
    def test(case: Any) -> None:
        _call(case, server, CHECKS)

    _call_all(schema[path]["post"], test)
