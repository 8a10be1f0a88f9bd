"""Fixtures that every test folder may use."""

from __future__ import annotations

from tests.support.postgres import database_url, empty_database_url, pg_server

__all__ = ["database_url", "empty_database_url", "pg_server"]
