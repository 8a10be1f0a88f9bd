"""Read: what a list may be asked for (label selectors, cursors), and waiting for a job to change.

One task per process waits for hints and polls the versions of all waited jobs in one query, so that a thousand long
polls cost the database one small query per change or second.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import re
from collections.abc import Awaitable, Callable, Collection, Hashable, Iterator
from typing import Generic, TypeVar
from uuid import UUID

from kube_job_runner.domain.errors import TemporaryError
from kube_job_runner.ports import Clock, Topic, Wakeup

K = TypeVar("K", bound=Hashable)
LabelTerm = tuple[str, str, tuple[str, ...]]

# labels.Parse, apimachinery/pkg/labels/selector.go: requirements joined by commas, `!=` and `notin` also match objects
# without the key. The patterns are those of label keys and values (IsQualifiedName, IsValidLabelValue).
_NAME = r"[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_KEY = rf"(?:[a-z0-9](?:[-a-z0-9.]{{0,251}}[a-z0-9])?/)?{_NAME}"
_VALUES = rf"\( ?(?:{_NAME})?(?: ?, ?(?:{_NAME})?)* ?\)"
_TERM = rf"(?:! ?{_KEY}|{_KEY}(?: ?(?:=|==|!=) ?(?:{_NAME})?| (?:in|notin) ?{_VALUES})?)"
SELECTOR_PATTERN = rf"^ ?(?:{_TERM}(?: ?, ?{_TERM}){{0,31}} ?)?$(?!\n)"
SELECTOR_MAX_LENGTH = 4096
SELECTOR_TERMS_MAX = 32

_term = re.compile(
    rf"\s*(?:!\s*(?P<absent>{_KEY})|(?P<key>{_KEY})"
    rf"(?:\s*(?P<operator>==|=|!=)\s*(?P<value>(?:{_NAME})?)|\s+(?P<set>in|notin)\s*\((?P<values>[^()]*)\))?)\s*(?:,|$)"
)
_name = re.compile(_NAME)


class SelectorError(ValueError):
    """The label selector cannot be read; the message says at which character, and why."""


def parse_selector(text: str) -> tuple[LabelTerm, ...]:
    """Return the terms of a label selector in Kubernetes' grammar (`a=b,c!=d,e in (f,g),h notin (i),j,!k`).

    Raises:
        SelectorError: it is not in the grammar, or has more than 32 terms.
    """
    if not text.strip():
        return ()
    terms = tuple(_terms(text))
    if len(terms) > SELECTOR_TERMS_MAX:
        raise SelectorError(f"has {len(terms)} terms; the limit is {SELECTOR_TERMS_MAX}")
    return terms


def _terms(text: str) -> Iterator[LabelTerm]:
    position = 0
    ended_by_comma = True
    while position < len(text) or ended_by_comma:
        match = _term.match(text, position)
        if match is None:
            raise SelectorError(f"cannot be read at character {position + 1}: {text[position : position + 40]!r}")
        yield _one_term(match)
        position = match.end()
        ended_by_comma = match[0].endswith(",")


def _one_term(match: re.Match[str]) -> LabelTerm:
    if match["absent"]:
        return (match["absent"], "!exists", ())
    key = match["key"]
    if match["operator"]:
        return (key, "notin" if match["operator"] == "!=" else "in", (match["value"],))
    if match["set"]:
        values = tuple(value.strip() for value in match["values"].split(","))
        for value in values:
            if value and not _name.fullmatch(value):
                raise SelectorError(f"{value!r} is not a label value (at character {match.start('values') + 1})")
        return (key, match["set"], values)
    return (key, "exists", ())


CURSOR_PATTERN = r"^[A-Za-z0-9_-]{21}[AQgw]$(?!\n)"


def encode_cursor(last_id: UUID) -> str:
    """Return the opaque cursor of the page after the job `last_id`."""
    return base64.urlsafe_b64encode(last_id.bytes).decode("ascii").rstrip("=")


def decode_cursor(cursor: str) -> UUID:
    """Return the id that a cursor stands for.

    Raises:
        ValueError: it is not a cursor of ours.
    """
    if not re.match(CURSOR_PATTERN, cursor):
        raise ValueError("is not a cursor; take `next_cursor` of the last page as it is")
    try:
        return UUID(bytes=base64.urlsafe_b64decode(cursor + "=="))
    except (binascii.Error, ValueError) as error:
        raise ValueError("is not a cursor") from error


class _Waiter:
    __slots__ = ("future", "than")

    def __init__(self, than: int, future: asyncio.Future[bool]) -> None:
        self.than = than
        self.future = future


class ChangeHub(Generic[K]):
    """Wakes those who wait for a job (or a log) to change. Its one task runs only while somebody waits."""

    def __init__(
        self,
        versions: Callable[[Collection[K]], Awaitable[dict[K, int]]],
        wakeup: Wakeup,
        clock: Clock,
        *,
        topic: Topic = "jobs",
        debounce_seconds: float = 0.02,
        poll_seconds: float = 1.0,
    ) -> None:
        self._versions = versions
        self._wakeup = wakeup
        self._topic: Topic = topic
        self._clock = clock
        self._debounce_seconds = debounce_seconds
        self._poll_seconds = poll_seconds
        self._waiters: dict[K, set[_Waiter]] = {}
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether nobody is to wait any more."""
        return self._closed

    @property
    def waiting(self) -> int:
        """How many wait now."""
        return sum(map(len, self._waiters.values()))

    async def wait_newer(self, job_id: K, *, than: int, timeout_seconds: float) -> bool:
        """Wait until the job's version is above `than` (or the job is gone); False when the time is over first."""
        if self._closed or timeout_seconds <= 0:
            return False
        waiter = _Waiter(than, asyncio.get_running_loop().create_future())
        self._waiters.setdefault(job_id, set()).add(waiter)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="change-hub")
        try:
            async with asyncio.timeout(timeout_seconds):
                return await waiter.future
        except TimeoutError:
            return False
        finally:
            self._remove(job_id, waiter)

    async def close(self) -> None:
        """Let all who wait go, and stop the task."""
        self._closed = True
        for waiters in self._waiters.values():
            for waiter in waiters:
                _resolve(waiter, changed=False)
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def _remove(self, job_id: K, waiter: _Waiter) -> None:
        waiters = self._waiters.get(job_id)
        if waiters is None:
            return
        waiters.discard(waiter)
        if not waiters:
            del self._waiters[job_id]

    async def _run(self) -> None:
        while self._waiters:
            started = self._clock.monotonic()
            try:
                await self._look()
                if await self._wakeup.wait(self._topic, timeout_seconds=self._poll_seconds):
                    await asyncio.sleep(self._debounce_seconds)
            except TemporaryError:
                pause_seconds = self._poll_seconds - (self._clock.monotonic() - started)
                await asyncio.sleep(max(pause_seconds, self._debounce_seconds))

    async def _look(self) -> None:
        asked = {job_id: list(waiters) for job_id, waiters in self._waiters.items()}
        versions = await self._versions(list(asked))
        for job_id, waiters in asked.items():
            version = versions.get(job_id)
            for waiter in waiters:
                if version is None or version > waiter.than:
                    _resolve(waiter, changed=True)


def _resolve(waiter: _Waiter, *, changed: bool) -> None:
    if not waiter.future.done():
        waiter.future.set_result(changed)
