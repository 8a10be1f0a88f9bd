"""Fixtures that every test folder may use."""

from __future__ import annotations

import asyncio

from tests.support.postgres import database_url, empty_database_url, pg, pg_server

__all__ = ["database_url", "empty_database_url", "pg", "pg_server"]

# The looptime plugin asks the policy for a loop even in synchronous tests, and gets a new one that nobody closes.
asyncio.set_event_loop(None)
