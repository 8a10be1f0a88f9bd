"""The ancestor of all local processes: a small program of its own, so that no job outlives the runner.

It does for local jobs what the shim of a container runtime does on a node: it starts processes, passes signals to their
groups, reaps them, and kills everything that a job leaves behind. As a separate process it can fork safely, even if the
runner has threads, and needs no child watcher of an event loop.

Each job has a guard: a fork of the shim that is the parent of the job's first process. On Linux the guard is a subreaper, so
every process of the job stays below it, whatever its session, group and environment. When the first process has ended, the
guard freezes and kills what is left below it, until it has no child, and then reports. Elsewhere it kills the process group.
The sockets tie the lives together: the shim's closes when the runner dies, also by `kill -9`, and a guard's when the shim
dies; then the jobs are killed. If a guard dies, its processes become the shim's, which kills them.

Both directions use JSON lines. To the shim: {"do": "start", "id", "argv", "env", "cwd", "log"} and
{"do": "signal", "id", "signal"}. From it: {"id", "event": "started" | "refused" (with "error") | "ended" (with "code",
"signal")}. A guard is sent the numbers of signals, one per line.
"""

import contextlib
import json
import os
import select
import signal
import socket
import time
from typing import Any

from kube_job_runner.adapters.local_shim import process_tree
from kube_job_runner.adapters.local_shim.guard import Guard

_GUARD_SECONDS = 30.0
"""How long a guard may take to end its job after a SIGKILL, before it is killed itself."""
_LAST_SECONDS = 8.0
"""How long all guards together may take when the runner is gone."""


class Job:
    """A job as the shim knows it: its guard, and the socket to it."""

    def __init__(self, job_id: str, guard: int, link: socket.socket) -> None:
        self.id = job_id
        self.guard = guard
        self.link = link
        self.main = 0
        self.ended = False
        self.due_at = float("inf")
        """When its guard must have ended it, by `time.monotonic`."""
        self.buffer = b""


class Shim:
    """The guards of the running jobs, and the loop that passes orders to them and reports to the runner."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._guards: dict[int, Job] = {}
        self._by_id: dict[str, Job] = {}
        self._by_link: dict[int, Job] = {}
        self._poll = select.poll()
        self._wake = process_tree.woken_by_children()
        self._buffer = b""

    def run(self) -> None:
        """Serve until the runner closes its end of the socket, then kill everything."""
        self._poll.register(self._channel, select.POLLIN)
        self._poll.register(self._wake, select.POLLIN)
        while True:
            for number, _ in self._poll.poll(1000 if self._by_id else None):
                if number == self._wake:
                    process_tree.empty(self._wake)
                    self._reap(process_tree.reaped() or {})
                elif number == self._channel.fileno():
                    if not self._serve():
                        return self._kill_all()
                elif number in self._by_link:
                    self._hear(self._by_link[number])
            for job in [job for job in self._guards.values() if job.due_at < time.monotonic()]:
                _kill(job.guard)  # stopped or stuck: what is left of the job becomes ours

    def _serve(self) -> bool:
        data = process_tree.received(self._channel)
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            order = json.loads(line)
            if order["do"] == "start":
                self._start(order)
            elif order["id"] in self._by_id:
                self._pass(self._by_id[order["id"]], order["signal"])
        return bool(data)

    def _pass(self, job: Job, number: int) -> None:
        if number == signal.SIGKILL:
            job.due_at = min(job.due_at, time.monotonic() + _GUARD_SECONDS)
        with contextlib.suppress(OSError):
            job.link.send(b"%d\n" % number)

    def _start(self, order: dict[str, Any]) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                pid = os.fork()
            except OSError as error:
                ours.close()
                text = f"fork: {os.strerror(error.errno or 0).lower()}"
                self._tell({"id": order["id"], "event": "refused", "error": text})
                return
            if pid == 0:
                self._become_guard(order, ours, theirs)
        job = self._guards[pid] = self._by_id[order["id"]] = self._by_link[ours.fileno()] = Job(order["id"], pid, ours)
        self._poll.register(job.link, select.POLLIN)
        self._hear(job)  # its first word: jobs are told to start in the order of the orders

    def _become_guard(self, order: dict[str, Any], ours: socket.socket, theirs: socket.socket) -> None:
        """Guard a job, in the new process: it holds no end of another socket, so that each closes with its owner."""
        try:
            os.close(signal.set_wakeup_fd(-1))
            os.close(self._wake)
            for link in (ours, self._channel, *(job.link for job in self._guards.values())):
                link.close()
            Guard(order, theirs).run()
        finally:
            os._exit(0)

    def _hear(self, job: Job, flags: int = 0) -> bool:
        data = process_tree.received(job.link, flags)
        *lines, job.buffer = (job.buffer + data).split(b"\n")
        for line in lines:
            message = json.loads(line)
            job.main = message.pop("pid", job.main)
            self._report(job, message)
        if not data and not flags:
            self._poll.unregister(job.link)
            del self._by_link[job.link.fileno()]
        return bool(data)

    def _report(self, job: Job, message: dict[str, Any]) -> None:
        if message["event"] != "started":
            job.ended = True
            self._by_id.pop(job.id, None)
        self._tell({"id": job.id, **message})

    def _reap(self, ended: dict[int, int]) -> None:
        """Forget the guards that have ended. What a killed one leaves behind is ours now, and is killed."""
        while ended:
            lost = [job for pid in ended if (job := self._guards.pop(pid, None)) is not None and not self._forget(job)]
            ended = {}
            if lost:
                for job in lost:
                    if job.main:
                        process_tree.kill_group(job.main, signal.SIGKILL)
                ended = process_tree.kill_below(spared=set(self._guards)) if process_tree.LINUX else {}
            for job in lost:
                self._report(job, {"event": "ended", "code": 128 + signal.SIGKILL, "signal": int(signal.SIGKILL)})

    def _forget(self, job: Job) -> bool:
        """Read the last words of a guard that has ended; return whether it has reported the end of its job."""
        while self._hear(job, socket.MSG_DONTWAIT):
            pass
        if self._by_link.pop(job.link.fileno(), None) is not None:
            self._poll.unregister(job.link)
        job.link.close()
        return job.ended

    def _kill_all(self) -> None:
        for job in self._guards.values():
            with contextlib.suppress(OSError):
                job.link.shutdown(socket.SHUT_WR)
        end = time.monotonic() + _LAST_SECONDS
        while self._guards and time.monotonic() < end:
            select.select([self._wake], [], [], 0.1)
            process_tree.empty(self._wake)
            self._reap(process_tree.reaped() or {})
        for job in self._guards.values():
            _kill(job.guard)
            if job.main:
                process_tree.kill_group(job.main, signal.SIGKILL)
        if process_tree.LINUX:
            process_tree.kill_below(spared=set())

    def _tell(self, message: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):  # the runner has died, and the loop ends soon
            self._channel.sendall(json.dumps(message).encode() + b"\n")


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)


def main() -> None:
    """Serve the socket that is our standard input."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the runner closes the socket when it stops, after its own drain
    process_tree.prctl(process_tree.PR_SET_CHILD_SUBREAPER, 1)
    process_tree.prctl(
        process_tree.PR_SET_DUMPABLE, 0
    )  # orders hold the environment of every job: no job may read our memory
    channel = socket.socket(fileno=os.dup(0))
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    Shim(channel).run()
