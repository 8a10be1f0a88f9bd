"""Fixtures that every test folder may use."""

from __future__ import annotations

import asyncio
import signal

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


@pytest.fixture
def aws_environment(sqs_server: ElasticMQ, monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials that ElasticMQ takes, and nothing of the machine's own AWS settings."""
    for name, value in sqs_server.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent/config")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent/credentials")
