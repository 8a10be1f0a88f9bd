"""The lease of a request to the cluster: until when it may be sent, and how long its sender waits for the answer.

A processor works on a job only as long as its lease in the store or the queue lasts. After that, another processor may have
ended the job, and a late create would start a container that nobody waits for. So the adapter itself asks for the permission
to send: right before it sends, after every wait for a slot or for credentials. The lease is passed as a context variable, like
the deadline of an RPC, because each request of an effect is bound by it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Iterator
from contextvars import ContextVar
from typing import TypeVar

from kube_job_runner.domain.errors import NotSent
from kube_job_runner.ports.runtime import Clock

T = TypeVar("T")

MARGIN_SHARE = 0.1
MARGIN_MAX_SECONDS = 2.0


class SendLease:
    """A lease of `seconds` from a moment on. It may be extended.

    It is measured by both clocks, and the one that has moved further counts: a monotonic clock may stand still while its
    machine is suspended, and a wall clock may step back. The end is early by a margin, a tenth of the lease or 2 s.
    """

    def __init__(self, clock: Clock, *, seconds: float) -> None:
        self._clock = clock
        self._seconds = seconds
        self._margin_seconds = min(seconds * MARGIN_SHARE, MARGIN_MAX_SECONDS)
        self._began = self.moment()

    def moment(self) -> tuple[float, float]:
        """Return the moment now, for `extend`."""
        return self._clock.monotonic(), self._clock.now().timestamp()

    def extend(self, moment: tuple[float, float]) -> None:
        """Let the lease begin again at a moment: the one before the store or the queue was asked to extend it."""
        self._began = moment

    @property
    def left_seconds(self) -> float:
        """How long an answer may still be waited for."""
        elapsed_seconds = max(now - began for now, began in zip(self.moment(), self._began, strict=True))
        return self._seconds - self._margin_seconds - elapsed_seconds

    @property
    def send_seconds(self) -> float:
        """How long requests may still be sent. Later, too little is left to wait for their answers."""
        return self.left_seconds - self._margin_seconds

    def check(self) -> float:
        """Return how long an answer may be waited for.

        Raises:
            NotSent: too little is left to send anything.
        """
        if self.send_seconds <= 0.0:
            raise NotSent(delay_seconds=0.0)
        return self.left_seconds


class Sending:
    """The requests of one effect. `unanswered` are those that may have been, or may still be, carried out unknown to us.

    `asked` says that the adapter asks for each request, so what it did not ask for was not sent. `adopted` says that a create
    found the cluster job that an earlier create had made. `gone` are the uids that a delete did not find any more.
    """

    def __init__(self, lease: SendLease) -> None:
        self.lease = lease
        self.asked = False
        self.sent = 0
        self.unanswered = 0
        self.adopted = False
        self.gone: list[str] = []

    def begin(self, max_seconds: float) -> float:
        """Note that a request is sent now; return how long to wait for its answer, at most `max_seconds`.

        Raises:
            NotSent: the lease does not allow it.
        """
        self.asked = True
        seconds = min(max_seconds, self.lease.check())
        self.sent += 1
        self.unanswered += 1
        return seconds

    def settle(self) -> None:
        """Note that the outcome of a request is known: it was carried out, was refused, or never left."""
        self.unanswered -= 1

    @property
    def outcome_known(self) -> bool:
        """Whether nothing can be carried out later, whatever error was raised."""
        return self.asked and self.unanswered == 0


_sending: ContextVar[Sending | None] = ContextVar("sending", default=None)


@contextlib.contextmanager
def sending(lease: SendLease) -> Iterator[Sending]:
    """Bind all requests of a block to a lease."""
    one = Sending(lease)
    token = _sending.set(one)
    try:
        yield one
    finally:
        _sending.reset(token)


def current() -> Sending | None:
    """Return what binds the requests of the caller; None when nothing does."""
    return _sending.get()


async def before_send(needed: Awaitable[T]) -> T:
    """Return what the caller's request needs before it can be sent: a slot, credentials.

    Raises:
        NotSent: the lease was about to end before that.
    """
    one = current()
    if one is None:
        return await needed
    one.asked = True
    try:
        async with asyncio.timeout(max(0.0, one.lease.send_seconds)):
            return await needed
    except TimeoutError:
        raise NotSent(delay_seconds=0.0) from None


def note_adoption() -> None:
    """Note that the caller's create found the cluster job of an earlier one."""
    one = current()
    if one is not None:
        one.adopted = True


def note_gone(uid: str) -> None:
    """Note that the cluster itself says that an object with that uid is no longer there."""
    one = current()
    if one is not None:
        one.gone.append(uid)


def note_refusal() -> None:
    """Note that the caller's request is refused for the time being: it is not carried out later."""
    one = current()
    if one is not None:
        one.settle()


@contextlib.contextmanager
def request() -> Iterator[None]:
    """Send a request to a cluster in this process: the lease is checked first, and a block that returns has answered.

    Raises:
        NotSent: the lease does not allow it.
    """
    one = current()
    if one is not None:
        one.begin(float("inf"))
    yield
    if one is not None:
        one.settle()
