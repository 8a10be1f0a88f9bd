"""The log-collector on real PostgreSQL with a simulated cluster: stored before deleted, byte for byte, whatever dies."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio

from kube_job_runner.adapters import postgres
from kube_job_runner.adapters.simulated import SimulatedCluster
from kube_job_runner.adapters.simulated.script import Script
from kube_job_runner.domain.decide.ruleset import Rules
from kube_job_runner.domain.errors import ClusterRefused, NotFound, TemporaryError
from kube_job_runner.domain.limits import Bounds
from kube_job_runner.domain.states import State
from kube_job_runner.ports import ClusterJob
from kube_job_runner.services.log_reading import LogUnavailable
from tests.support.clocks import SystemClock
from tests.support.postgres import fetch
from tests.support.rig import Rig

pytestmark = pytest.mark.asyncio


class Bench:
    """A simulated cluster whose scripts tests choose, and the rig on it."""

    def __init__(self, pg: postgres.Postgres, url: str) -> None:
        self.pg = pg
        self.url = url
        self.script = Script(log=b"hello\n")
        self.cluster = SimulatedCluster(
            clock=SystemClock(), script_for=self._script_for, condition_lag_seconds=0.05, keep_history=True
        )
        self.cluster.start()

    def _script_for(self, _: ClusterJob) -> Script:
        return self.script

    def rig(self, **options: Any) -> Rig:
        return Rig(self.pg, self.cluster, **options)

    async def uid(self, rig: Rig, job_id: UUID) -> str:
        attempt = await rig.attempt(job_id)
        assert attempt.cluster_uid is not None
        return attempt.cluster_uid


@pytest_asyncio.fixture
async def bench(pg: postgres.Postgres, database_url: str) -> AsyncIterator[Bench]:
    made = Bench(pg, database_url)
    yield made
    await made.cluster.close()


async def test_a_short_job_costs_one_request_and_its_log_stays(bench: Bench) -> None:
    bench.script = Script(log=b"one\ntwo \x00\xff\r\nthree")
    rules = Rules(cleanup_delay_seconds=0)
    async with bench.rig(rules=rules).running() as rig:
        [job_id] = await rig.submit()
        await rig.until_state(job_id, State.SUCCEEDED)
        attempt = await rig.until_logged(job_id)
        assert attempt.logs == "stored"
        assert bench.cluster.history.log_requests == 1

        async def gone() -> bool:
            return (await rig.attempt(job_id)).gone_at is not None

        await rig.until(gone, what="the cluster job is removed")
        assert await rig.read(job_id) == b"one\ntwo \x00\xff\r\nthree"
        assert await rig.read(job_id, follow=True, tail=1) == b"three"
        stamped = await rig.read(job_id, timestamps=True, grep=b"two")
        assert stamped.endswith(b"Z two \x00\xff\r\n")
        assert stamped.startswith(b"20")


async def test_an_attempt_that_never_started_costs_no_request(bench: Bench) -> None:
    bench.script = Script(mode="starterror")
    async with bench.rig(rules=Rules(cleanup_delay_seconds=0)).running() as rig:
        [job_id] = await rig.submit()
        await rig.until_state(job_id, State.FAILED)
        with pytest.raises(LogUnavailable, match="never started"):
            await rig.read(job_id)
        assert bench.cluster.history.log_requests == 0


@pytest.mark.parametrize("cut_at", [600_000, 1_500_000])
async def test_an_answer_that_ends_early_is_no_end_of_a_large_log(
    bench: Bench, cut_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    printed = b"".join(b"%07d %s\n" % (number, b"x" * 91) for number in range(20_000))
    bench.script = Script(log=printed)
    whole, asked = bench.cluster.logs, 0

    async def logs(*where: str, **how: Any) -> AsyncIterator[bytes]:
        nonlocal asked
        asked += 1
        left = cut_at if asked == 1 else len(printed) * 2
        async for chunk in whole(*where, **how):
            yield chunk[:left]
            left -= len(chunk)
            if left <= 0:
                return

    monkeypatch.setattr(bench.cluster, "logs", logs)
    async with bench.rig(follow_after_seconds=600.0, retry_seconds=0.05).running() as rig:
        [job_id] = await rig.submit()
        assert (await rig.until_logged(job_id)).logs == "stored"
        if cut_at >= 2**20:
            assert await rig.read(job_id) == printed
            assert asked == 3
        else:
            assert asked == 1  # what is never rotated costs one request


async def test_two_hundred_jobs_that_end_in_the_same_second(bench: Bench) -> None:
    bench.script = Script(run_seconds=None)
    async with bench.rig(follow_after_seconds=600.0).running(collectors=2) as rig:
        ids = await rig.submit(200)
        for job_id in ids:
            await rig.until_state(job_id, State.RUNNING)
        for number, job_id in enumerate(ids):
            uid = await bench.uid(rig, job_id)
            bench.cluster.write(uid, b"%d\n" % number * 100)
            bench.cluster.finish(uid)
        for number, job_id in enumerate(ids):
            assert (await rig.until_logged(job_id)).logs == "stored"
            assert await rig.read(job_id) == b"%d\n" % number * 100
        assert bench.cluster.history.log_requests == 200


async def test_a_reader_follows_across_the_end_of_the_job(bench: Bench) -> None:
    bench.script = Script(run_seconds=None, log=b"first\n")
    async with bench.rig().running() as rig:
        [job_id] = await rig.submit()
        await rig.until_state(job_id, State.STARTING, State.RUNNING)
        reading = asyncio.create_task(rig.read(job_id, follow=True))
        await rig.until_state(job_id, State.RUNNING)
        uid = await bench.uid(rig, job_id)

        async def followed() -> bool:
            return (await rig.attempt(job_id)).logs == "following"

        await rig.until(followed, what="followed because it is read")
        for number in range(20):
            bench.cluster.write(uid, b"line %d\n" % number)
            await asyncio.sleep(0.01)
        assert (await rig.read(job_id)).endswith(b"line 19\n"), "a plain read waits until the collector has caught up"
        bench.cluster.write(uid, b"last")
        bench.cluster.finish(uid)
        assert await reading == b"first\n" + b"".join(b"line %d\n" % n for n in range(20)) + b"last"


@pytest.mark.parametrize("how", ["stopped", "killed", "stream breaks"])
async def test_a_collector_that_ends_in_the_middle(bench: Bench, how: str) -> None:
    bench.script = Script(run_seconds=None)
    async with bench.rig(follow_after_seconds=0.0, lease_seconds=0.9).running() as rig:
        [job_id] = await rig.submit()
        await rig.until_state(job_id, State.RUNNING)
        uid = await bench.uid(rig, job_id)
        expected = b""
        for number in range(60):
            part = b"%d:" % number + b"x" * (number * 37 % 200) + (b"\n" if number % 3 else b" no end ")
            expected += part
            bench.cluster.write(uid, part)
            await asyncio.sleep(0.03)
            if number % 20 == 10:
                if how == "stopped":
                    await rig.stop_collectors()
                    rig.start_collector()
                elif how == "killed":
                    await rig.kill_collectors()
                    rig.start_collector()
                else:
                    bench.cluster.fail_next("log_stream", TemporaryError("the link broke"))
        bench.cluster.finish(uid)
        assert (await rig.until_logged(job_id)).logs == "stored"
        assert await rig.read(job_id) == expected
        stored = await fetch(
            bench.url, "SELECT sum(bytes) AS bytes, max(first_line + lines - 1) AS lines FROM log_chunks"
        )
        assert stored[0]["bytes"] == len(expected)
        assert stored[0]["lines"] == expected.count(b"\n") + (not expected.endswith(b"\n"))


async def test_a_log_above_its_cap_keeps_its_first_and_its_last_part(bench: Bench) -> None:
    bench.script = Script(log=b"".join(b"%06d\n" % n for n in range(60_000)))
    cap = 65_536
    async with bench.rig(max_bytes=cap).running() as rig:
        [job_id] = await rig.submit()
        await rig.until_logged(job_id)
        text = await rig.read(job_id)
        head, _, rest = text.partition(b"[kube-job-runner: ")
        mark, _, tail = rest.partition(b"]\n")
        words = mark.decode().split()
        assert mark.endswith(b"left out here: the log is above its limit of 65536 bytes")
        assert len(head) + len(tail.removeprefix(b"\n")) + int(words[0]) in (420_000, 420_001)
        assert head.startswith(b"000000\n")
        assert tail.endswith(b"059999\n")
        assert len(head) + len(tail) <= cap + 16_384
        assert (await rig.read(job_id, tail=3)) == b"059997\n059998\n059999\n"
        assert (await rig.read(job_id, grep=b"05999")).count(b"\n") == 11, "ten lines, and the mark"
        stored = await fetch(bench.url, "SELECT sum(bytes) AS bytes FROM log_chunks WHERE mark = ''")
        assert stored[0]["bytes"] <= cap + 16_384


async def test_a_cancelled_job_keeps_its_last_words(bench: Bench) -> None:
    bench.script = Script(run_seconds=None, log=b"work\n", grace_seconds=0.5)
    async with bench.rig(follow_after_seconds=600.0).running() as rig:
        [job_id] = await rig.submit()
        await rig.until_state(job_id, State.RUNNING)
        await rig.pg.submit_store.request_cancel(job_id, by="", reason="")

        async def deleted() -> bool:
            return (await rig.attempt(job_id)).delete_requested_at is not None

        await rig.until(deleted, what="the delete is sent")
        assert (await rig.attempt(job_id)).logs in ("following", "stored"), "followed before it is deleted"
        bench.cluster.write(await bench.uid(rig, job_id), b"cleaning up\n")
        await rig.until_state(job_id, State.CANCELLED)
        assert (await rig.until_logged(job_id)).logs == "stored"
        assert await rig.read(job_id) == b"work\ncleaning up\n"


async def test_without_a_collector_a_stop_waits_for_its_bound_and_no_longer(bench: Bench) -> None:
    bench.script = Script(run_seconds=None, log=b"work\n")
    rules = Rules(log_stop_bound_seconds=0.3, log_recheck_seconds=0.1)
    async with bench.rig(rules=rules).running(collectors=0) as rig:
        [job_id] = await rig.submit()
        await rig.until_state(job_id, State.RUNNING)
        await rig.pg.submit_store.request_cancel(job_id, by="", reason="")
        await rig.until_state(job_id, State.CANCELLED)
        attempt = await rig.attempt(job_id)
        assert attempt.delete_requested_at is not None
        cancel = (await rig.job(job_id)).cancel
        assert cancel is not None
        assert 0.3 <= (attempt.delete_requested_at - cancel.at).total_seconds() < 3
        assert attempt.logs_lost.startswith("no log-collector took the log within 0.3 s")
        rig.start_collector()
        attempt = await rig.until_logged(job_id)
        assert attempt.logs == "lost"
        with pytest.raises(LogUnavailable, match="no log-collector took the log"):
            await rig.read(job_id)


async def test_a_finished_cluster_job_is_not_deleted_before_its_log_is_stored(bench: Bench) -> None:
    rules = Rules(cleanup_delay_seconds=0, log_recheck_seconds=0.1)
    async with bench.rig(rules=rules).running(collectors=0) as rig:
        [job_id] = await rig.submit()
        await rig.until_state(job_id, State.SUCCEEDED)
        await asyncio.sleep(0.5)
        assert (await rig.attempt(job_id)).delete_requested_at is None
        rig.start_collector()
        await rig.until_logged(job_id)

        async def deleted() -> bool:
            return (await rig.attempt(job_id)).delete_requested_at is not None

        await rig.until(deleted, what="the delete is sent", timeout_seconds=3)
        assert await rig.read(job_id) == b"hello\n"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (NotFound('pods "x" not found'), "not found"),
        (ClusterRefused("pods is forbidden", reason="Forbidden", status=403), "does not let us read it"),
    ],
)
async def test_a_log_that_cannot_be_had_is_lost_with_its_reason(bench: Bench, error: Exception, words: str) -> None:
    bench.cluster.fail_next("logs", error, times=100)
    async with bench.rig().running() as rig:
        [job_id] = await rig.submit()
        attempt = await rig.until_logged(job_id)
        assert attempt.logs == "lost"
        assert words in attempt.logs_lost
        with pytest.raises(LogUnavailable, match=words):
            await rig.read(job_id)


async def test_faults_are_tried_again_until_the_deadline(bench: Bench) -> None:
    bench.cluster.fail_next("logs", TemporaryError("away"), times=2)
    async with bench.rig(retry_seconds=0.05).running() as rig:
        [job_id] = await rig.submit()
        assert (await rig.until_logged(job_id)).logs == "stored"
        bench.cluster.fail_next("logs", TemporaryError("away"), times=10_000)
        await rig.stop_collectors()
        rig.start_collector(bounds=Bounds(log_deadline_seconds=0.5), lease_seconds=0.3)
        [job_id] = await rig.submit()
        attempt = await rig.until_logged(job_id)
        assert (attempt.logs, attempt.logs_lost) == ("lost", "not within 0.5 s: away")


async def test_since_and_places(bench: Bench) -> None:
    bench.script = Script(run_seconds=None, log=b"old\n")
    async with bench.rig(follow_after_seconds=0.0).running() as rig:
        [job_id] = await rig.submit()
        await rig.until_state(job_id, State.RUNNING)
        await asyncio.sleep(0.05)
        moment = rig.clock.now()
        uid = await bench.uid(rig, job_id)
        for number in range(10):
            bench.cluster.write(uid, b"new %d\n" % number)
            await asyncio.sleep(0.05)
        bench.cluster.finish(uid)
        await rig.until_logged(job_id)
        new = b"".join(b"new %d\n" % n for n in range(10))
        assert await rig.read(job_id, since=moment) == new
        assert await rig.read(job_id, since=rig.clock.now()) == b""
        framed = await rig.read(job_id, frames=True)
        head, _, body = framed.partition(b"\n")
        assert int(head.split()[1]) == len(body) == len(b"old\n" + new)
        with pytest.raises(LogUnavailable, match="has no container other; it has: main"):
            await rig.read(job_id, container="other")


async def test_old_logs_go_with_their_jobs(bench: Bench) -> None:
    async with bench.rig(rules=Rules(cleanup_delay_seconds=0)).running() as rig:
        ids = await rig.submit(5)
        for job_id in ids:
            await rig.until_logged(job_id)

        async def gone() -> bool:
            return all([(await rig.attempt(job_id)).gone_at for job_id in ids])

        await rig.until(gone, what="the cluster jobs are removed")
        assert await rig.pg.sweep_store.delete_old_jobs(older_than_seconds=0, limit=10) == 0, "their logs go first"
        assert await rig.pg.logs.delete_old_logs(older_than_seconds=0, limit=3) == 3
        assert await rig.pg.logs.delete_old_logs(older_than_seconds=0, limit=3) == 2
        assert await rig.pg.sweep_store.delete_old_jobs(older_than_seconds=0, limit=10) == 5
        left = await fetch(
            bench.url, "SELECT (SELECT count(*) FROM attempt_logs) + (SELECT count(*) FROM log_chunks) AS n"
        )
        assert left[0]["n"] == 0
        with contextlib.suppress(NotFound):
            await rig.read(ids[0])
            pytest.fail("the job is gone")


KUBELET = b'failed to try resolving symlinks in path "/var/log/pods/x/main/0.log": lstat: no such file or directory'


@pytest.mark.parametrize("good", [0, 1], ids=["lost", "there at the next try"])
async def test_an_error_of_the_kubelet_in_the_place_of_a_log_is_not_the_log(
    bench: Bench, good: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kubelet whose file is gone answers with HTTP 200 and this text."""
    real, answers = bench.cluster.logs, 0

    async def logs(*args: Any, **options: Any) -> AsyncIterator[bytes]:
        nonlocal answers
        answers += 1
        if good and answers > 1:
            async for chunk in real(*args, **options):
                yield chunk
            return
        yield KUBELET

    monkeypatch.setattr(bench.cluster, "logs", logs)
    async with bench.rig(retry_seconds=0.02).running() as rig:
        [job_id] = await rig.submit()
        attempt = await rig.until_logged(job_id)
        if good:
            assert (attempt.logs, await rig.read(job_id)) == ("stored", b"hello\n")
            return
        assert attempt.logs == "lost"
        assert "failed to try resolving symlinks" in attempt.logs_lost
        with pytest.raises(LogUnavailable, match="in the place of the log"):
            await rig.read(job_id)
