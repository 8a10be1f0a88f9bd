"""Connections: every one is in exactly one phase, and every phase ends: by its own deadline, or by progress of its writes.

One look over all connections, a few times a second, ends what is late. So no handler needs a timer of its own, and nothing that
a client does can cancel one. The number of connections is limited in all and for each peer. At the limit, the connection that
has waited longest makes room. When all of them work, a few more are accepted only for the probes of a kubelet.
"""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator
from enum import StrEnum
from math import inf
from typing import Protocol

from kube_job_runner.telemetry import metrics

PROGRESS_BYTES = 16 * 1024
"""What a client must take of its answer within `write_seconds`, if that much waits for it."""


class Phase(StrEnum):
    """What a connection waits for."""

    HEAD = "head"
    """The rest of the head of a request, from the first byte on, or from the start of the connection."""
    BODY = "body"
    """The rest of the body of a request that is being served."""
    ANSWER = "answer"
    """Our answer. Long polls and log streams may be long, so only the progress of writes counts."""
    QUEUED = "queued"
    """Our answer, while the client has sent its next request already."""
    IDLE = "idle"
    """The next request."""
    LINGER = "linger"
    """The client, who still sends a request that is answered: it must be able to read the answer before the connection is cut."""
    CLOSING = "closing"
    """The rest of the last answer to be taken."""


_WORKS = frozenset({Phase.BODY, Phase.ANSWER, Phase.QUEUED})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Deadlines:
    """How long each phase may last, in seconds; and the bytes that are read and thrown away while a connection lingers."""

    head_seconds: float = 15.0
    body_seconds: float = 35.0
    queued_seconds: float = 120.0
    idle_seconds: float = 75.0
    linger_seconds: float = 2.0
    linger_max_bytes: int = 32 * 1024 * 1024
    write_seconds: float = 30.0
    life_seconds: float = inf
    """Of the whole connection, for servers of probes."""
    probe_seconds: float = 3.0
    """Of the whole connection, when it was accepted above the limit for probes only."""

    def of(self, phase: Phase) -> float:
        """Return how long a phase may last."""
        seconds = {
            Phase.HEAD: self.head_seconds,
            Phase.BODY: self.body_seconds,
            Phase.ANSWER: inf,
            Phase.QUEUED: self.queued_seconds,
            Phase.IDLE: self.idle_seconds,
            Phase.LINGER: self.linger_seconds,
            Phase.CLOSING: self.write_seconds,
        }
        return seconds[phase]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Caps:
    """How many connections there may be: in all, of one peer, and above these only for probes."""

    total: int = 4096
    per_peer: int = 3072
    probes: int = 32


class Connection(Protocol):
    """What the room needs of a connection. `sent_bytes` were given to the transport, `pending_bytes` of them still wait."""

    peer: str
    phase: Phase
    until: float
    ends_at: float
    only_probes: bool
    progress: "Progress"

    @property
    def sent_bytes(self) -> int: ...

    @property
    def pending_bytes(self) -> int: ...

    def cut(self) -> None:
        """End the connection now."""

    def give_way(self) -> None:
        """End a connection that waits, so that another can be accepted."""


@dataclasses.dataclass(slots=True)
class Progress:
    """How far the answer was taken at the last look that saw progress, and until when there must be more."""

    taken_bytes: int = 0
    goal_bytes: int = 0
    until: float = inf

    def late(self, now: float, *, sent_bytes: int, pending_bytes: int, write_seconds: float) -> bool:
        """Note the state of the writes; return whether the client takes too little."""
        taken = sent_bytes - pending_bytes
        if pending_bytes <= 0:
            self.until = inf
        elif self.until == inf or taken >= self.goal_bytes:
            self.taken_bytes = taken
            self.goal_bytes = min(sent_bytes, taken + PROGRESS_BYTES)
            self.until = now + write_seconds
        return now >= self.until


class Room:
    """All connections of one server."""

    def __init__(self, deadlines: Deadlines, caps: Caps) -> None:
        self.deadlines = deadlines
        self.caps = caps
        self._time = asyncio.get_running_loop().time
        self._seconds = {phase: deadlines.of(phase) for phase in Phase}
        self._all: dict[Connection, None] = {}
        self._waiting: dict[Connection, None] = {}  # in the order in which they began to wait
        self._peers: dict[str, dict[Connection, None]] = {}  # those of a peer that wait, in the same order
        self._counts: dict[str, int] = {}
        self._probes: dict[Connection, None] = {}

    def __len__(self) -> int:
        return len(self._all)

    def enter(self, connection: Connection) -> None:
        """Take in a new connection. At the limit another one goes, or the new one is only for probes."""
        self._all[connection] = None
        now = self._time()
        connection.ends_at = now + self.deadlines.life_seconds
        if self._has_room(connection.peer):
            self._counts[connection.peer] = self._counts.get(connection.peer, 0) + 1
        else:
            connection.only_probes = True
            connection.ends_at = now + self.deadlines.probe_seconds
            if len(self._probes) >= self.caps.probes:
                self._end(next(iter(self._probes)), "full")
            self._probes[connection] = None

    def leave(self, connection: Connection) -> None:
        """Forget a connection that is closed."""
        if self._all.pop(connection, self) is self:
            return
        self._works(connection)
        if connection.only_probes:
            self._probes.pop(connection, None)
            return
        self._counts[connection.peer] -= 1
        if not self._counts[connection.peer]:
            del self._counts[connection.peer]

    def note(self, connection: Connection, phase: Phase) -> None:
        """Note the new phase of a connection, and until when it must end."""
        connection.phase = phase
        seconds = self._seconds[phase]
        connection.until = connection.ends_at if seconds == inf else min(self._time() + seconds, connection.ends_at)
        if phase in _WORKS:
            self._works(connection)
        elif connection not in self._waiting and connection in self._all and not connection.only_probes:
            self._waiting[connection] = None
            self._peers.setdefault(connection.peer, {})[connection] = None

    def look(self, now: float) -> None:
        """End the connections that are late."""
        for connection in list(self._all):
            write_late = connection.progress.late(
                now,
                sent_bytes=connection.sent_bytes,
                pending_bytes=connection.pending_bytes,
                write_seconds=self.deadlines.write_seconds,
            )
            if write_late:
                self._end(connection, "write")
            elif now >= connection.until:
                still_taken = (
                    connection.phase is Phase.CLOSING and connection.pending_bytes and now < connection.ends_at
                )
                if not still_taken:
                    self._end(connection, connection.phase.value)

    def cut_all(self) -> None:
        """End all connections now."""
        for connection in list(self._all):
            connection.cut()

    @contextlib.asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Look at the connections regularly inside the block. At its end all of them are cut."""
        task = asyncio.create_task(self._watch(), name="connections")
        metrics.http_connections.set_function(lambda: len(self._all))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            self.cut_all()

    async def _watch(self) -> None:
        limits = self.deadlines
        shortest = min(
            limits.head_seconds, limits.body_seconds, limits.idle_seconds, limits.linger_seconds, limits.write_seconds
        )
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(min(0.5, shortest / 4))
            self.look(loop.time())

    def _has_room(self, peer: str) -> bool:
        total = len(self._all) - len(self._probes)  # with the new one
        count = self._counts.get(peer, 0)
        full = total > self.caps.total
        if count < self.caps.per_peer and not full:
            return True
        own = self._peers.get(peer)
        if own and (count >= self.caps.per_peer or count * 8 >= self.caps.total):
            self._make_way(next(iter(own)))  # who has many connections makes room for itself
            return True
        if count < self.caps.per_peer and self._waiting:
            self._make_way(next(iter(self._waiting)))
            return True
        return False

    def _make_way(self, connection: Connection) -> None:
        metrics.http_connections_ended.labels("full").inc()
        self.leave(connection)
        connection.give_way()

    def _end(self, connection: Connection, why: str) -> None:
        metrics.http_connections_ended.labels(why).inc()
        self.leave(connection)
        connection.cut()

    def _works(self, connection: Connection) -> None:
        if self._waiting.pop(connection, self) is self:
            return
        own = self._peers[connection.peer]
        del own[connection]
        if not own:
            del self._peers[connection.peer]
