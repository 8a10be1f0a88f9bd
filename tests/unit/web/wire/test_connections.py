"""Who makes room for whom, and what counts as progress: without sockets."""

from __future__ import annotations

import asyncio
from math import inf

import pytest

from kube_job_runner.web.wire.connections import PROGRESS_BYTES, Caps, Deadlines, Phase, Progress, Room

pytestmark = pytest.mark.asyncio


class FakeConnection:
    def __init__(self, room: Room, peer: str, phase: Phase = Phase.HEAD) -> None:
        self.peer, self.phase, self.until, self.ends_at, self.only_probes = peer, phase, 0.0, 0.0, False
        self.progress, self.sent_bytes, self.pending_bytes, self.over = Progress(), 0, 0, False
        room.enter(self)
        room.note(self, phase)

    def cut(self) -> None:
        self.over = True

    give_way = cut


async def test_who_has_many_connections_makes_room_for_itself() -> None:
    room = Room(Deadlines(), Caps(total=8, per_peer=8, probes=2))
    quiet = FakeConnection(room, "quiet", Phase.IDLE)
    loud = [FakeConnection(room, "loud") for _ in range(100)]
    assert not quiet.over
    assert [one.over for one in loud] == [True] * 93 + [False] * 7
    assert len(room) == 8


async def test_a_newcomer_gets_the_room_of_who_waited_longest() -> None:
    room = Room(Deadlines(), Caps(total=8, per_peer=8, probes=2))
    loud = [FakeConnection(room, "loud", Phase.IDLE) for _ in range(8)]
    fresh = FakeConnection(room, "fresh")
    assert loud[0].over
    assert not fresh.only_probes


async def test_connections_that_work_are_never_ended_for_others() -> None:
    room = Room(Deadlines(), Caps(total=8, per_peer=8, probes=2))
    busy = [FakeConnection(room, "loud", Phase.ANSWER) for _ in range(8)]
    late = [FakeConnection(room, "other") for _ in range(5)]
    assert not any(one.over for one in busy)
    assert all(one.only_probes for one in late)
    assert [one.over for one in late] == [True, True, True, False, False]
    for one in (*busy, *late):
        room.leave(one)
        room.leave(one)
    assert len(room) == 0
    assert not any((room._waiting, room._peers, room._counts, room._probes))


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase is not Phase.ANSWER])
async def test_every_phase_but_the_answer_has_an_end(phase: Phase) -> None:
    room = Room(Deadlines(), Caps())
    connection = FakeConnection(room, "a", phase)
    room.look(asyncio.get_running_loop().time() + 1)
    assert not connection.over
    room.look(asyncio.get_running_loop().time() + 121)
    assert connection.over


async def test_an_answer_ends_when_nothing_of_it_is_taken() -> None:
    room = Room(Deadlines(write_seconds=30), Caps())
    connection = FakeConnection(room, "a", Phase.ANSWER)
    assert connection.until == inf
    now = asyncio.get_running_loop().time()
    connection.sent_bytes, connection.pending_bytes = 1_000_000, 500_000
    for minute in range(20):  # slow, but it takes some
        room.look(now + 29 * minute)
        connection.pending_bytes -= PROGRESS_BYTES
    assert not connection.over
    room.look(now + 29 * 20)
    connection.pending_bytes -= PROGRESS_BYTES - 1
    room.look(now + 29 * 20 + 31)
    assert connection.over
