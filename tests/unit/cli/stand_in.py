"""A stand-in for the composition root."""

from __future__ import annotations

import types
from datetime import UTC, datetime
from typing import Any

from kube_job_runner import ports
from kube_job_runner.settings import Settings


class Bootstrap(types.ModuleType):
    """Stands where the composition root is and keeps what it was asked for."""

    def __init__(self) -> None:
        super().__init__("kube_job_runner.bootstrap.commands")
        self.asked: list[Any] = []
        self.error: Exception | None = None

    def _note(self, *what: Any) -> None:
        self.asked.append(what)
        if self.error is not None:
            raise self.error

    def up(self, settings: Settings, *, on_ready: Any) -> int:
        """Note it."""
        self._note("up", settings)
        on_ready("http://127.0.0.1:4711", "kjr_abcdefgh_secretsecret")
        return 0

    def serve(self, settings: Settings, components: list[str]) -> int:
        """Note it."""
        self._note("serve", settings, components)
        return 1

    def migrate(self, settings: Settings) -> list[str]:
        """Note it."""
        self._note("migrate", settings)
        return ["0001_first"]

    def grant_roles(self, settings: Settings) -> list[str]:
        """Note it."""
        self._note("grant", settings.database.role_prefix)
        return ["kjr_web_server", "kjr_sweeper"]

    def roles_script(self, settings: Settings) -> str:
        """Note it."""
        self._note("script", settings.database.role_prefix)
        return "BEGIN;\n"

    queue: Any = None

    def init_queue(self, settings: Settings) -> list[str] | None:
        """Note it."""
        self._note("init_queue", settings.queue.address)
        found: list[str] | None = self.queue
        return found

    def check_queue(self, settings: Settings) -> tuple[list[str], ports.QueueCounts] | None:
        """Note it."""
        self._note("check_queue", settings.queue.address)
        found: tuple[list[str], ports.QueueCounts] | None = self.queue
        return found

    move: Any = None

    def rebind(self, settings: Settings, confirm: Any) -> int | None:
        """Note it, and ask."""
        self._note("rebind")
        return 3 if confirm(self.move) else None

    def create_token(self, settings: Settings, name: str) -> str:
        """Note it."""
        self._note("create", name)
        return "kjr_new"

    def list_tokens(self, settings: Settings) -> list[ports.Token]:
        """Note it."""
        self._note("list")
        return [ports.Token(name="ci\x1b", token_hash=b"h", prefix="abcd", created_at=datetime(2026, 1, 1, tzinfo=UTC))]

    def revoke_token(self, settings: Settings, name: str) -> int:
        """Note it."""
        self._note("revoke", name)
        return 0 if name == "unknown" else 2
