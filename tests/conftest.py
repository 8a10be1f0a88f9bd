"""Fixtures that every test folder may use."""

from __future__ import annotations

import asyncio
import functools
import signal
from pathlib import Path
from typing import Any

import pytest

from testbed.elasticmq import ElasticMQ
from testbed.pytest_plugin import sqs_server
from tests.support.postgres import database_url, empty_database_url, pg, pg_server

__all__ = ["database_url", "empty_database_url", "pg", "pg_server", "sqs_server"]

# The looptime plugin asks the policy for a loop even in synchronous tests, and gets a new one that nobody closes.
asyncio.set_event_loop(None)

# A shell's background job ignores SIGINT, and what it starts inherits that: programs that are to be interrupted never would be.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


_SLOW_FOLDERS = ("monitoring", "upgrade", "integration", "simulation", "contract")  # the first may build a program


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start the slow folders first, the slowest before the others: at the end no process waits for another's long file."""
    order = {folder: place for place, folder in enumerate(_SLOW_FOLDERS)}
    tests = Path(__file__).parent

    def place(item: pytest.Item) -> int:
        folder = item.path.relative_to(tests).parts[0] if item.path.is_relative_to(tests) else ""
        return order.get(folder, len(order))

    items.sort(key=place)


@pytest.hookimpl(optionalhook=True)  # tests also run without xdist
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With `--dist loadfile`, give all files that need the real node to the same process: a machine has room for one of them."""
    if config.getvalue("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class ByFile(LoadFileScheduling):  # type: ignore[misc]  # it has no types
        def _split_scope(self, nodeid: str) -> str:
            path = super()._split_scope(nodeid)
            return "the real node" if _needs_real_node(config.rootpath / path) else path

    return ByFile(config, log)


@functools.cache
def _needs_real_node(path: Path) -> bool:
    return "realnode" in path.read_text()


@pytest.fixture
def aws_environment(sqs_server: ElasticMQ, monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials that ElasticMQ takes, and nothing of the machine's own AWS settings; no pause between two tries.

    All clients share what is read of the AWS library's models, which costs each of them half a second.
    """
    for name, value in sqs_server.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent/config")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent/credentials")
    monkeypatch.setattr("botocore.session.create_loader", _loader)
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0.0)


@functools.cache
def _loader(search_path: str | None = None) -> Any:
    from botocore.loaders import create_loader

    return create_loader(search_path)
