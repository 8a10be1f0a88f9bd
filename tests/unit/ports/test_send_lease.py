"""The lease of a request: what it allows, and what is known of what was sent."""

from __future__ import annotations

import asyncio
import datetime as dt

import pytest

from kube_job_runner.domain.errors import ClusterRefused, NotSent, TemporaryError
from kube_job_runner.ports import send_lease
from kube_job_runner.ports.send_lease import Sending, SendLease
from kube_job_runner.services.pipeline.turns import Turn, within
from tests.support.domain import T0, after


class Clocks:
    """A monotonic clock and a wall clock that tests move apart."""

    def __init__(self) -> None:
        self.seconds = 100.0
        self.wall = T0

    def monotonic(self) -> float:
        return self.seconds

    def now(self) -> dt.datetime:
        return self.wall


def test_a_lease_ends_early_by_a_margin_and_sends_nothing_that_has_no_time_for_an_answer() -> None:
    clocks = Clocks()
    lease = SendLease(clocks, seconds=60.0)
    assert (lease.left_seconds, lease.send_seconds) == (58.0, 56.0)
    clocks.seconds += 55.9
    assert lease.check() == pytest.approx(2.1)
    clocks.seconds += 0.1
    with pytest.raises(NotSent):
        lease.check()


@pytest.mark.parametrize(("monotonic", "wall"), [(57.0, 0.0), (0.0, 57.0), (57.0, -3600.0)])
def test_the_clock_that_moved_further_counts(monotonic: float, wall: float) -> None:
    """A monotonic clock may stand still while its machine is suspended; a wall clock may be set back."""
    clocks = Clocks()
    lease = SendLease(clocks, seconds=60.0)
    clocks.seconds += monotonic
    clocks.wall = after(wall)
    with pytest.raises(NotSent):
        lease.check()


def test_an_extended_lease_begins_when_the_extension_was_asked_for() -> None:
    clocks = Clocks()
    lease = SendLease(clocks, seconds=60.0)
    clocks.seconds += 20.0
    asked_at = lease.moment()
    clocks.seconds += 10.0
    lease.extend(asked_at)
    assert lease.left_seconds == 48.0


def test_a_request_may_take_what_is_left() -> None:
    clocks = Clocks()
    sending = Sending(SendLease(clocks, seconds=60.0))
    assert sending.begin(30.0) == 30.0
    clocks.seconds += 40.0
    assert sending.begin(30.0) == 18.0


def _learned(*, sent: int, answered: int, error: Exception | None) -> bool:
    lease = SendLease(Clocks(), seconds=60.0)
    sending, turn = Sending(lease), Turn(lease=lease)
    for _ in range(sent):
        sending.begin(1.0)
    for _ in range(answered):
        sending.settle()
    turn.learn(sending, error)
    return turn.settled


@pytest.mark.parametrize(
    ("sent", "answered", "error", "settled"),
    [
        (1, 1, None, True),
        (2, 1, None, False),  # the first was lost, its repetition was answered
        (1, 0, TemporaryError("no answer"), False),
        (1, 1, TemporaryError("quota"), True),
        (0, 0, NotSent(), True),
        (1, 0, NotSent(), False),  # it was lost, and its repetition did not fit into the lease
        (0, 0, TemporaryError("of a cluster that does not ask"), False),
        (1, 1, ClusterRefused("no", reason="AdmissionDenied"), True),
    ],
)
def test_a_turn_is_settled_only_when_nothing_can_arrive_later(
    sent: int, answered: int, error: Exception | None, settled: bool
) -> None:
    assert _learned(sent=sent, answered=answered, error=error) is settled


@pytest.mark.asyncio
@pytest.mark.looptime
@pytest.mark.parametrize(("sends", "raises"), [(True, TemporaryError), (False, NotSent)])
async def test_an_effect_ends_with_its_lease(sends: bool, raises: type[Exception]) -> None:
    async def forever() -> None:
        if sends:
            sending.begin(5.0)
        await send_lease.before_send(asyncio.sleep(0))
        await asyncio.sleep(3600)

    with send_lease.sending(SendLease(Clocks(), seconds=60.0)) as sending, pytest.raises(TemporaryError) as raised:
        await within(sending, forever(), action="creating")
    assert type(raised.value) is raises


@pytest.mark.asyncio
@pytest.mark.looptime
async def test_what_a_request_waits_for_is_bounded_by_the_time_to_send() -> None:
    began = asyncio.get_running_loop().time()
    with send_lease.sending(SendLease(Clocks(), seconds=60.0)), pytest.raises(NotSent):
        await send_lease.before_send(asyncio.sleep(3600))
    assert asyncio.get_running_loop().time() - began == pytest.approx(56.0, abs=0.1)
