"""Our own logs: one line for each event, with its fields.

A line never holds a spec, an argument or a secret, nor characters that control a terminal. Every line has `component`: the
task of a component sets it, and the tasks that it starts inherit it. A line has an `action`, a stable name to search for.
A line about a job has `job_id`, and `attempt` if there is one.
"""

import contextlib
import logging
import re
import sys
from collections.abc import Collection, Iterator, MutableMapping
from typing import Any
from uuid import UUID

import structlog

from kube_job_runner.telemetry import safetext


def get_logger(name: str) -> Any:
    return structlog.get_logger(name)


@contextlib.contextmanager
def about(*, component: str | None = None, job_id: UUID | None = None, attempt: int | None = None) -> Iterator[None]:
    """Add these fields to every line that is logged within, also by tasks that are started within."""
    fields: dict[str, Any] = {"component": component, "attempt": attempt}
    if job_id is not None:
        fields["job_id"] = str(job_id)
    with structlog.contextvars.bound_contextvars(**{key: value for key, value in fields.items() if value is not None}):
        yield


class Cleaner:
    """Cleans text for a log: known secrets become `***`, and control characters are escaped."""

    def __init__(self, secrets: Collection[str] = ()) -> None:
        longest_first = sorted(set(secrets), key=len, reverse=True)
        self._secrets = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    def text(self, text: str) -> str:
        """Return the cleaned text. Line feeds and tabs stay."""
        if self._secrets is not None:
            text = self._secrets.sub("***", text)
        return safetext.block(text)

    def __call__(self, _logger: Any, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """Clean all values of a structlog event. If the repr of another value has something to hide, it takes its place."""
        for key, value in event.items():
            if isinstance(value, str):
                event[key] = self.text(value)
            elif value is not None and not isinstance(value, (bool, int, float)):
                shown = self.text(repr(value))
                if shown != repr(value):
                    event[key] = shown
        return event


class _CleanFormatter(logging.Formatter):
    """The format of lines that libraries log."""

    def __init__(self, cleaner: Cleaner) -> None:
        super().__init__("%(levelname)s %(name)s %(message)s")
        self._cleaner = cleaner

    def format(self, record: logging.LogRecord) -> str:
        return self._cleaner.text(super().format(record))


def _with_component(_logger: Any, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Name the process where no component is set."""
    event.setdefault("component", "process")
    return event


def configure(*, log_format: str, log_level: str, secrets: Collection[str] = ()) -> None:
    """Set up logging for the process: JSON lines, or aligned text on a terminal, always to standard error.

    None of `secrets` is ever written, even if an error message quotes it.
    """
    cleaner = Cleaner(secrets)
    console = log_format == "console" or (log_format == "auto" and sys.stderr.isatty())
    renderer: Any = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()) if console else structlog.processors.JSONRenderer()
    )
    level = getattr(logging, log_level.upper())
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        _with_component,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[
            *shared,
            structlog.processors.StackInfoRenderer(),
            structlog.processors.format_exc_info,
            structlog.processors.UnicodeDecoder(),
            cleaner,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_CleanFormatter(cleaner))
    logging.basicConfig(level=max(level, logging.WARNING), handlers=[handler])
