"""The behaviour every `ports.Cluster` has: written once, run unchanged on each adapter by `test_cluster_contract.py`."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from kube_job_runner.domain.errors import NameTaken, NotFound
from kube_job_runner.domain.facts import JobFacts, PodFacts
from kube_job_runner.domain.logs.stamps import StampParser
from kube_job_runner.domain.names import MAIN_CONTAINER
from kube_job_runner.ports import ClusterJob, Listed, OwnedObject, Relisting, SeenJob, SeenPod, Unlisted
from tests.support.clusters import Harness, Recorder


class Watched:
    """Two recorders, of jobs and of pods, and the questions that tests ask them."""

    def __init__(self, harness: Harness) -> None:
        self.harness = harness
        self.jobs = Recorder()
        self.pods = Recorder()
        self.texts = Recorder()

    async def start(self) -> Watched:
        self.jobs.follow(self.harness.cluster.watch_jobs())
        self.pods.follow(self.harness.cluster.watch_pods())
        self.texts.follow(self.harness.cluster.watch_events())
        await self.harness.until(lambda: self.jobs.listed and self.pods.listed and self.texts.listed)
        return self

    async def stop(self) -> None:
        await self.jobs.stop()
        await self.pods.stop()
        await self.texts.stop()

    def job(self, uid: str) -> JobFacts | None:
        seen = self.jobs.of(uid)
        return seen[-1] if seen else None

    def pod(self, job_uid: str) -> PodFacts | None:
        seen = self.pods.pods_of(job_uid)
        return seen[-1] if seen else None

    async def until_job(self, uid: str, condition: str) -> JobFacts:
        def found() -> JobFacts | None:
            job = self.job(uid)
            return job if job is not None and job.condition(condition) else None

        return await self.harness.until(found)

    async def until_phase(self, job_uid: str, *phases: str) -> PodFacts:
        def found() -> PodFacts | None:
            pod = self.pod(job_uid)
            return pod if pod is not None and pod.phase in phases else None

        return await self.harness.until(found)

    async def until_gone(self, uid: str) -> None:
        def found() -> bool:
            job, pod = self.job(uid), self.pod(uid)
            return job is not None and job.gone and (pod is None or pod.gone)

        await self.harness.until(found)


async def read(harness: Harness, job: ClusterJob, pod: PodFacts, **wanted: Any) -> bytes:
    """Read a whole log."""
    arguments = {"container": MAIN_CONTAINER, "follow": False, **wanted}
    stream = harness.cluster.logs(job.namespace, pod.name, **arguments)
    return b"".join([chunk async for chunk in stream])


class ClusterContract:
    """Subclasses give a fixture `harness`."""

    @pytest_asyncio.fixture
    async def watched(self, harness: Harness) -> AsyncIterator[Watched]:
        watched = await Watched(harness).start()
        yield watched
        await watched.stop()

    # -- create, find, delete ----------------------------------------------------------------------------------------

    @pytest.mark.asyncio
    async def test_create_gives_facts_and_find_gives_the_same_uid(self, harness: Harness) -> None:
        job = harness.runs()
        facts = await harness.cluster.create(job)
        assert facts.uid
        assert facts.resource_version > 0
        assert facts.created_at is not None
        assert not facts.gone
        found = await harness.cluster.find(job.namespace, job.cluster_name)
        assert found is not None
        assert found.uid == facts.uid

    @pytest.mark.asyncio
    async def test_find_gives_none_for_an_unknown_name(self, harness: Harness) -> None:
        assert await harness.cluster.find(harness.namespace, "no-such-job") is None

    @pytest.mark.asyncio
    async def test_a_look_shows_the_job_and_its_pods_until_they_are_gone(
        self, harness: Harness, watched: Watched
    ) -> None:
        job = harness.runs()
        uid = (await harness.cluster.create(job)).uid
        await watched.until_phase(uid, "Running")
        shown = await harness.cluster.look(job.namespace, job.cluster_name, cluster_uid=uid)
        assert shown.job is not None
        assert (shown.job.uid, shown.job.gone) == (uid, False)
        assert [(pod.job_uid, pod.phase, pod.gone) for pod in shown.pods or ()] == [(uid, "Running", False)]
        other = await harness.cluster.look(job.namespace, "no-such-job", cluster_uid="no-such-uid")
        assert (other.job, other.pods) == (None, ())
        await harness.cluster.delete(job.namespace, job.cluster_name, cluster_uid=uid, wait_for_pods=True)
        await watched.until_gone(uid)
        gone = await harness.cluster.look(job.namespace, job.cluster_name, cluster_uid=uid)
        assert (gone.job, gone.pods) == (None, ())

    @pytest.mark.asyncio
    async def test_a_second_create_adopts_the_first(self, harness: Harness) -> None:
        job = harness.runs()
        first = await harness.cluster.create(job)
        assert (await harness.cluster.create(job)).uid == first.uid

    @pytest.mark.asyncio
    async def test_creates_at_once_make_one_cluster_job(self, harness: Harness, watched: Watched) -> None:
        job = harness.succeeds()
        answers = await asyncio.gather(*(harness.cluster.create(job) for _ in range(8)))
        assert len({facts.uid for facts in answers}) == 1
        await watched.until_job(answers[0].uid, "Complete")
        assert {e.facts.uid for e in watched.jobs.events if isinstance(e, SeenJob) and e.job_id == job.job_id} == {
            answers[0].uid
        }

    @pytest.mark.asyncio
    async def test_an_ended_cluster_job_is_adopted_with_its_conditions(
        self, harness: Harness, watched: Watched
    ) -> None:
        job = harness.exits(3)
        first = await harness.cluster.create(job)
        await watched.until_job(first.uid, "Failed")
        adopted = await harness.cluster.create(job)
        assert adopted.uid == first.uid
        assert adopted.condition("Failed")

    @pytest.mark.asyncio
    async def test_nodes_to_avoid_and_memory_do_not_stop_a_job_and_memory_is_part_of_the_work(
        self, harness: Harness, watched: Watched
    ) -> None:
        job = msgspec.structs.replace(harness.succeeds(), memory="32Mi", avoid_nodes=("node-0", "no-such-node"))
        facts = await harness.cluster.create(job)
        assert (await harness.cluster.create(msgspec.structs.replace(job, avoid_nodes=()))).uid == facts.uid
        with pytest.raises(NameTaken):
            await harness.cluster.create(msgspec.structs.replace(job, memory="64Mi"))
        await watched.until_job(facts.uid, "Complete")

    @pytest.mark.parametrize("other", ["job_id", "attempt", "spec_hash"])
    @pytest.mark.asyncio
    async def test_other_work_under_the_same_name_is_refused(self, harness: Harness, other: str) -> None:
        job = harness.runs()
        await harness.cluster.create(job)
        stranger = harness.runs()
        changes = {"job_id": stranger.job_id, "attempt": 2, "spec_hash": "other"}
        with pytest.raises(NameTaken):
            await harness.cluster.create(msgspec.structs.replace(job, **{other: changes[other]}))

    @pytest.mark.asyncio
    async def test_delete_with_another_uid_deletes_nothing(self, harness: Harness, watched: Watched) -> None:
        job = harness.runs()
        facts = await harness.cluster.create(job)
        await watched.until_phase(facts.uid, "Running")
        wrong = "00000000-0000-4000-8000-000000000000"
        await harness.cluster.delete(job.namespace, job.cluster_name, cluster_uid=wrong, wait_for_pods=False)
        found = await harness.cluster.find(job.namespace, job.cluster_name)
        assert found is not None
        assert (found.uid, found.deleting) == (facts.uid, False)
        await harness.release(job, facts)
        await watched.until_job(facts.uid, "Complete")

    @pytest.mark.parametrize("wait_for_pods", [True, False])
    @pytest.mark.asyncio
    async def test_delete_stops_what_runs_and_may_be_repeated(
        self, harness: Harness, watched: Watched, wait_for_pods: bool
    ) -> None:
        job = harness.runs()
        facts = await harness.cluster.create(job)
        await watched.until_phase(facts.uid, "Running")
        for _ in range(3):
            await harness.cluster.delete(
                job.namespace, job.cluster_name, cluster_uid=facts.uid, wait_for_pods=wait_for_pods
            )
        await watched.until_gone(facts.uid)
        await harness.cluster.delete(
            job.namespace, job.cluster_name, cluster_uid=facts.uid, wait_for_pods=wait_for_pods
        )
        assert await harness.cluster.find(job.namespace, job.cluster_name) is None
        pods = watched.pods.pods_of(facts.uid)
        stopped = [pod for pod in pods if pod.phase == "Failed"]
        assert stopped, "the end of the process is told before the pod is gone"
        main = stopped[0].container(MAIN_CONTAINER)
        assert main is not None
        assert main.exit_code in (143, 137)

    @pytest.mark.asyncio
    async def test_delete_that_waits_shows_the_job_until_its_pod_is_gone(
        self, harness: Harness, watched: Watched
    ) -> None:
        job = harness.runs()
        facts = await harness.cluster.create(job)
        await watched.until_phase(facts.uid, "Running")
        await harness.cluster.delete(job.namespace, job.cluster_name, cluster_uid=facts.uid, wait_for_pods=True)
        await watched.until_gone(facts.uid)
        jobs, pods = watched.jobs.of(facts.uid), watched.pods.pods_of(facts.uid)
        assert any(seen.deleting and not seen.gone for seen in jobs)
        assert any(seen.deleting and not seen.gone for seen in pods)
        assert jobs[-1].gone
        assert pods[-1].gone
        assert pods[-1].resource_version <= jobs[-1].resource_version

    @pytest.mark.asyncio
    async def test_delete_that_does_not_wait_frees_the_name_at_once(self, harness: Harness, watched: Watched) -> None:
        job = harness.runs()
        first = await harness.cluster.create(job)
        await watched.until_phase(first.uid, "Running")
        await harness.cluster.delete(job.namespace, job.cluster_name, cluster_uid=first.uid, wait_for_pods=False)
        second = await harness.cluster.create(job)
        assert second.uid != first.uid
        await watched.until_gone(first.uid)
        await harness.release(job, second)
        await watched.until_job(second.uid, "Complete")

    @pytest.mark.asyncio
    async def test_pods_that_take_their_time_are_removed_by_force(self, harness: Harness, watched: Watched) -> None:
        job = harness.never_stops()
        facts = await harness.cluster.create(job)
        pod = await watched.until_phase(facts.uid, "Running")

        async def delete(*pods: tuple[str, str], grace_seconds: int | None) -> None:
            await harness.cluster.delete(
                job.namespace,
                job.cluster_name,
                cluster_uid=facts.uid,
                wait_for_pods=True,
                pods=pods,
                grace_seconds=grace_seconds,
            )

        await delete((pod.name, pod.uid), grace_seconds=None)
        await harness.until(lambda: (seen := watched.pod(facts.uid)) is not None and seen.deleting)
        another = "00000000-0000-4000-8000-000000000000"
        await delete((pod.name, another), (f"{job.cluster_name}-xxxxx", pod.uid), grace_seconds=0)
        found = await harness.cluster.find(job.namespace, job.cluster_name)
        assert found is not None, "a pod of another name or uid is not ours to remove, and ours is still there"
        await delete((pod.name, pod.uid), (f"{job.cluster_name}-xxxxx", another), grace_seconds=0)
        await watched.until_gone(facts.uid)
        await delete((pod.name, pod.uid), grace_seconds=0)

    @pytest.mark.asyncio
    async def test_delete_of_an_ended_cluster_job(self, harness: Harness, watched: Watched) -> None:
        job = harness.succeeds()
        facts = await harness.cluster.create(job)
        await watched.until_job(facts.uid, "Complete")
        await harness.cluster.delete(job.namespace, job.cluster_name, cluster_uid=facts.uid, wait_for_pods=False)
        await watched.until_gone(facts.uid)

    # -- outcomes ----------------------------------------------------------------------------------------------------

    @pytest.mark.asyncio
    async def test_success(self, harness: Harness, watched: Watched) -> None:
        job = harness.succeeds()
        facts = await harness.cluster.create(job)
        ended = await watched.until_job(facts.uid, "Complete")
        assert not ended.condition("Failed")
        pod = await watched.until_phase(facts.uid, "Succeeded")
        main = pod.container(MAIN_CONTAINER)
        assert main is not None
        assert (main.state, main.exit_code, main.reason) == ("terminated", 0, "Completed")
        assert main.started_at is not None
        assert main.finished_at is not None
        assert main.finished_at >= main.started_at
        assert "Running" in [seen.phase for seen in watched.pods.pods_of(facts.uid)]
        assert watched.texts.texts == [], "a job that succeeds costs no message about events"

    @pytest.mark.parametrize("code", [1, 3, 255])
    @pytest.mark.asyncio
    async def test_exit_code(self, harness: Harness, watched: Watched, code: int) -> None:
        facts = await harness.cluster.create(harness.exits(code))
        failed = await watched.until_job(facts.uid, "Failed")
        condition = failed.condition("Failed")
        assert condition is not None
        assert condition.reason == "BackoffLimitExceeded"
        assert not failed.condition("Complete")
        pod = await watched.until_phase(facts.uid, "Failed")
        main = pod.container(MAIN_CONTAINER)
        assert main is not None
        assert (main.exit_code, main.reason) == (code, "Error")

    @pytest.mark.asyncio
    async def test_a_job_that_cannot_start_says_why(self, harness: Harness, watched: Watched) -> None:
        facts = await harness.cluster.create(harness.cannot_start())

        def refused() -> PodFacts | None:
            pod = watched.pod(facts.uid)
            main = pod.container(MAIN_CONTAINER) if pod is not None else None
            return pod if main is not None and main.message else None

        pod = await harness.until(refused)
        main = pod.container(MAIN_CONTAINER)
        assert main is not None
        assert main.state in ("waiting", "terminated")
        assert main.reason in ("StartError", "ErrImagePull", "ImagePullBackOff")
        assert "Running" not in [seen.phase for seen in watched.pods.pods_of(facts.uid)]

    # -- inventory ---------------------------------------------------------------------------------------------------

    @pytest.mark.asyncio
    async def test_the_inventory_holds_what_is_ours_jobs_before_pods(self, harness: Harness, watched: Watched) -> None:
        assert await inventory(harness) == []
        job = harness.runs()
        facts = await harness.cluster.create(job)
        pod = await watched.until_phase(facts.uid, "Running")
        owned_job, owned_pod = await inventory(harness)
        assert (owned_job.kind, owned_job.namespace, owned_job.name) == ("Job", job.namespace, job.cluster_name)
        assert (owned_job.uid, owned_job.created_at, owned_job.owner_uid) == (facts.uid, facts.created_at, "")
        assert (owned_pod.kind, owned_pod.namespace, owned_pod.name) == ("Pod", job.namespace, pod.name)
        assert (owned_pod.uid, owned_pod.owner_uid) == (pod.uid, facts.uid)
        for owned in (owned_job, owned_pod):
            assert (owned.job_id, owned.attempt, owned.installation) == (job.job_id, 1, harness.installation)
            assert not owned.deleting
        await harness.release(job, facts)

    @pytest.mark.asyncio
    async def test_what_is_removed_by_uid_stops_and_is_gone(self, harness: Harness, watched: Watched) -> None:
        job = harness.runs()
        facts = await harness.cluster.create(job)
        await watched.until_phase(facts.uid, "Running")
        (owned, _) = await inventory(harness)
        await harness.cluster.remove_owned(msgspec.structs.replace(owned, uid="00000000-0000-4000-8000-000000000000"))
        found = await harness.cluster.find(job.namespace, job.cluster_name)
        assert found is not None
        assert not found.deleting
        for _ in range(2):
            await harness.cluster.remove_owned(owned)
        await watched.until_gone(facts.uid)
        assert await inventory(harness) == []
        await harness.cluster.remove_owned(owned)

    @pytest.mark.asyncio
    async def test_the_conditions_of_a_node(self, harness: Harness, watched: Watched) -> None:
        job = harness.runs()
        facts = await harness.cluster.create(job)
        pod = await watched.until_phase(facts.uid, "Running")
        conditions = await harness.cluster.node_conditions(pod.node)
        assert conditions is not None
        assert [c.status for c in conditions if c.type == "Ready"] == ["True"]
        assert await harness.cluster.node_conditions("no-such-node") is None
        await harness.release(job, facts)

    # -- watches -----------------------------------------------------------------------------------------------------

    @pytest.mark.asyncio
    async def test_an_empty_cluster_lists_nothing(self, harness: Harness, watched: Watched) -> None:
        for kind in (watched.jobs, watched.pods, watched.texts):
            assert [type(event) for event in kind.events] == [Relisting, Listed]
        assert harness.cluster.troubles() == {}

    @pytest.mark.asyncio
    async def test_the_first_list_holds_what_exists_and_changes_follow(
        self, harness: Harness, watched: Watched
    ) -> None:
        first = harness.runs()
        ended = harness.exits(3)
        first_facts, ended_facts = await harness.cluster.create(first), await harness.cluster.create(ended)
        await watched.until_phase(first_facts.uid, "Running")
        await watched.until_job(ended_facts.uid, "Failed")
        async with late(harness) as late_watch:
            listed = {e.facts.uid: e for e in late_watch.jobs.lists[0] if isinstance(e, SeenJob)}
            assert set(listed) == {first_facts.uid, ended_facts.uid}
            assert (listed[ended_facts.uid].job_id, listed[ended_facts.uid].attempt) == (ended.job_id, ended.attempt)
            assert listed[ended_facts.uid].facts.condition("Failed"), "a late watcher sees how it ended"
            pods = {e.facts.job_uid: e.facts for e in late_watch.pods.lists[0] if isinstance(e, SeenPod)}
            assert pods[first_facts.uid].phase == "Running"
            assert pods[ended_facts.uid].phase == "Failed"
            await harness.release(first, first_facts)
            await late_watch.until_job(first_facts.uid, "Complete")

    @pytest.mark.asyncio
    async def test_every_watcher_sees_everything_in_order(self, harness: Harness, watched: Watched) -> None:
        async with late(harness) as other:
            jobs = [harness.succeeds() for _ in range(3)]
            uids = [(await harness.cluster.create(job)).uid for job in jobs]
            for job, uid in zip(jobs, uids, strict=True):
                for watch in (watched, other):
                    await watch.until_job(uid, "Complete")
                    await watch.until_phase(uid, "Succeeded")
                await harness.cluster.delete(job.namespace, job.cluster_name, cluster_uid=uid, wait_for_pods=False)
                for watch in (watched, other):
                    await watch.until_gone(uid)
        for recorder in (watched.jobs, watched.pods, other.jobs, other.pods):
            for uid in {event.facts.uid for event in recorder.changes}:
                versions = [facts.resource_version for facts in recorder.of(uid)]
                assert versions == sorted(versions)

    @pytest.mark.asyncio
    async def test_a_change_that_changes_nothing_is_not_told(self, harness: Harness, watched: Watched) -> None:
        jobs = (harness.succeeds(), harness.exits(3))
        for job in jobs:
            facts = await harness.cluster.create(job)
            await watched.until_job(facts.uid, "Complete" if job is jobs[0] else "Failed")
            await watched.until_phase(facts.uid, "Succeeded", "Failed")
        for recorder in (watched.jobs, watched.pods):
            for uid in {event.facts.uid for event in recorder.changes}:
                seen = [msgspec.structs.replace(facts, resource_version=0) for facts in recorder.of(uid)]
                assert all(one != other for one, other in itertools.pairwise(seen))

    @pytest.mark.asyncio
    async def test_gone_facts_keep_the_last_state(self, harness: Harness, watched: Watched) -> None:
        job = harness.exits(3)
        facts = await harness.cluster.create(job)
        await watched.until_job(facts.uid, "Failed")
        await watched.until_phase(facts.uid, "Failed")
        await harness.cluster.delete(job.namespace, job.cluster_name, cluster_uid=facts.uid, wait_for_pods=False)
        await watched.until_gone(facts.uid)
        last_job, last_pod = watched.job(facts.uid), watched.pod(facts.uid)
        assert last_job is not None
        assert last_job.condition("Failed")
        assert last_pod is not None
        main = last_pod.container(MAIN_CONTAINER)
        assert main is not None
        assert main.exit_code == 3
        gone = [e for e in watched.jobs.changes if isinstance(e, SeenJob) and e.facts.gone]
        assert [(e.job_id, e.attempt) for e in gone] == [(job.job_id, job.attempt)]


class EventTexts:
    """The part of the suite for clusters whose components write Events."""

    @pytest.mark.asyncio
    async def test_what_is_said_about_a_pod_is_told_once_with_its_attempt(
        self, harness: Harness, watched: Watched
    ) -> None:
        job = harness.image_missing()
        facts = await harness.cluster.create(job)
        (seen, *_) = await harness.until(lambda: [e for e in watched.texts.texts if e.facts.reason == "Failed"])
        pod = await watched.until_phase(facts.uid, "Pending")
        assert (seen.job_id, seen.attempt) == (job.job_id, job.attempt)
        assert (seen.facts.object_kind, seen.facts.object_name, seen.facts.object_uid) == ("Pod", pod.name, pod.uid)
        assert seen.facts.type == "Warning"
        assert seen.facts.message
        assert seen.facts.count >= 1
        assert seen.facts.last_at is not None
        async with late(harness) as other:
            told = [e for e in other.texts.texts if e.facts.uid == seen.facts.uid]
            assert len(told) == 1, "who comes later is told what was said lately"
        versions = [(e.facts.uid, e.facts.resource_version) for e in watched.texts.texts]
        assert len(versions) == len(set(versions))
        await harness.cluster.delete(job.namespace, job.cluster_name, cluster_uid=facts.uid, wait_for_pods=False)
        await watched.until_gone(facts.uid)


class ForeignObjects:
    """The part of the suite for clusters that can hold objects which are not ours."""

    @pytest.mark.asyncio
    async def test_an_object_that_is_not_ours_is_neither_adopted_nor_found(self, harness: Harness) -> None:
        job = harness.runs()
        await harness.plant(job)
        with pytest.raises(NameTaken):
            await harness.cluster.create(job)
        assert await harness.cluster.find(job.namespace, job.cluster_name) is None


class ClusterLogs:
    """The part of the suite for clusters whose pods really print."""

    @pytest.mark.parametrize(
        "output",
        [b"", b"one line\n", b"no newline at the end", b"\n\n", bytes(range(256)) * 40, b"\xff\xfe\x00broken \xc3\x28"],
        ids=["nothing", "line", "unfinished", "newlines", "binary", "broken-utf8"],
    )
    @pytest.mark.asyncio
    async def test_logs_are_what_was_printed(self, harness: Harness, watched: Watched, output: bytes) -> None:
        job = harness.prints(output)
        facts = await harness.cluster.create(job)
        pod = await watched.until_phase(facts.uid, "Succeeded")
        assert await read(harness, job, pod) == output
        assert await read(harness, job, pod, follow=True) == output

    @pytest.mark.asyncio
    async def test_a_followed_log_ends_with_its_container(self, harness: Harness, watched: Watched) -> None:
        job = harness.runs()
        facts = await harness.cluster.create(job)
        pod = await watched.until_phase(facts.uid, "Running")
        received = bytearray()

        async def follow() -> None:
            async for chunk in harness.cluster.logs(job.namespace, pod.name, container=MAIN_CONTAINER, follow=True):
                received.extend(chunk)

        following = asyncio.create_task(follow())
        await harness.until(lambda: received == b"first\n")
        assert not following.done()
        await harness.release(job, facts)
        await harness.until(following.done)
        await following
        assert received == b"first\nsecond\n"

    @pytest.mark.asyncio
    async def test_stamps_are_those_of_the_lines_and_the_same_again(self, harness: Harness, watched: Watched) -> None:
        output = b"a\n\nb \xff\r\nno end"
        job = harness.prints(output)
        facts = await harness.cluster.create(job)
        pod = await watched.until_phase(facts.uid, "Succeeded")
        stamped = await read(harness, job, pod, timestamps=True)
        pieces = StampParser().feed(stamped)
        assert b"".join(piece.data for piece in pieces) == output
        assert len(pieces) == 4
        stamps = [piece.stamp for piece in pieces]
        assert stamps == sorted(stamps)
        assert stamps[0] > 0
        assert await read(harness, job, pod, timestamps=True, follow=True) == stamped

    @pytest.mark.asyncio
    async def test_since_leaves_out_what_is_older(self, harness: Harness, watched: Watched) -> None:
        job = harness.prints(b"a\nb\n")
        facts = await harness.cluster.create(job)
        pod = await watched.until_phase(facts.uid, "Succeeded")
        [first, _] = StampParser().feed(await read(harness, job, pod, timestamps=True))
        moment = datetime.fromtimestamp(first.stamp // 1_000_000_000, UTC)
        assert await read(harness, job, pod, since=moment) == b"a\nb\n"
        assert await read(harness, job, pod, since=moment + timedelta(hours=1)) == b""

    @pytest.mark.asyncio
    async def test_logs_of_an_unknown_pod_or_container_are_not_found(self, harness: Harness, watched: Watched) -> None:
        job = harness.runs()
        facts = await harness.cluster.create(job)
        pod = await watched.until_phase(facts.uid, "Running")
        with pytest.raises(NotFound):
            await read(harness, job, msgspec.structs.replace(pod, name="no-such-pod"))
        with pytest.raises(NotFound):
            await read(harness, job, pod, container="no-such-container")

    @pytest.mark.asyncio
    async def test_logs_of_a_pod_that_is_gone_are_not_found(self, harness: Harness, watched: Watched) -> None:
        job = harness.prints(b"x\n")
        facts = await harness.cluster.create(job)
        pod = await watched.until_phase(facts.uid, "Succeeded")
        await harness.cluster.delete(job.namespace, job.cluster_name, cluster_uid=facts.uid, wait_for_pods=False)
        await watched.until_gone(facts.uid)
        with pytest.raises(NotFound):
            await read(harness, job, pod)


async def inventory(harness: Harness) -> list[OwnedObject]:
    """All that the cluster holds of ours."""
    pages = [page async for page in harness.cluster.list_owned()]
    return [owned for page in pages if not isinstance(page, Unlisted) for owned in page]


@contextlib.asynccontextmanager
async def late(harness: Harness) -> AsyncIterator[Watched]:
    """A second pair of watchers, that begins now."""
    watched = await Watched(harness).start()
    try:
        yield watched
    finally:
        await watched.stop()
