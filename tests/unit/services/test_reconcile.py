"""Orphans and zombies: what is removed, what is reported, and above all what is left alone."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import AsyncIterator, Collection, Sequence
from typing import Any

import msgspec
import pytest

from kube_job_runner import ports
from kube_job_runner.domain.errors import LeaseLost, TemporaryError
from kube_job_runner.domain.facts import JobFacts, PodFacts
from kube_job_runner.domain.messages import Observed, Outgoing
from kube_job_runner.services import reconcile
from kube_job_runner.services.reconcile import Reconciler, claimed
from kube_job_runner.settings.groups import SweepSettings
from kube_job_runner.telemetry import metrics

OURS = "installation-1"
NOW = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)
JOB = uuid.UUID("0190b5b0-0000-7000-8000-000000000001")
OTHER = uuid.UUID("0190b5b0-0000-7000-8000-000000000002")


def job(
    uid: str, *, job_id: uuid.UUID = JOB, attempt: int = 1, age_seconds: float = 3600, **fields: Any
) -> ports.OwnedObject:
    given: dict[str, Any] = {"kind": "Job", "name": f"name-of-{uid}", "installation": OURS, **fields}
    created_at = NOW - dt.timedelta(seconds=age_seconds)
    return ports.OwnedObject(
        namespace="default", uid=uid, created_at=created_at, job_id=job_id, attempt=attempt, **given
    )


def pod(uid: str, owner_uid: str, **fields: Any) -> ports.OwnedObject:
    return job(uid, kind="Pod", owner_uid=owner_uid, **fields)


def row(uid: str, job_id: uuid.UUID = JOB, attempt: int = 1, *, namespace: str = "default") -> ports.RecordedClusterJob:
    return ports.RecordedClusterJob(
        job_id=job_id, attempt=attempt, namespace=namespace, cluster_name=f"name-of-{uid}", cluster_uid=uid
    )


class World:
    """A store, a cluster, a queue and a clock in one, to be set by hand."""

    def __init__(self, *owned: ports.OwnedObject, rows: Sequence[ports.RecordedClusterJob] = ()) -> None:
        self.owned = list(owned)
        self.rows = list(rows)
        self.claims_now: dict[tuple[uuid.UUID, int], ports.Claim] = {
            (r.job_id, r.attempt): ports.Claim(job_ended=False, job_attempt=r.attempt, cluster_uid=r.cluster_uid)
            for r in rows
        }
        self.removed: list[str] = []
        self.sent: list[Observed] = []
        self.list_error: Exception | None = None
        self.unlisted: list[str] = []
        self.remove_error: Exception | None = None
        self.present: dict[str, JobFacts | Exception] = {}
        self.before_list: Any = lambda: None
        self.before_second_look: Any = lambda: None
        self.looks = 0
        self.cluster: ports.ClusterIdentity | None = None
        self.bound: list[ports.ClusterIdentity] = []

    async def identity(self) -> ports.ClusterIdentity | None:
        return self.cluster

    async def bind_cluster(self, identity: ports.ClusterIdentity) -> list[ports.ClusterIdentity]:
        return self.bound

    async def installation_id(self) -> str:
        return OURS

    async def recorded_cluster_jobs(
        self, *, after: tuple[uuid.UUID, int] | None, limit: int
    ) -> list[ports.RecordedClusterJob]:
        rows = sorted(self.rows, key=lambda r: (r.job_id, r.attempt))
        return [r for r in rows if after is None or (r.job_id, r.attempt) > after][:limit]

    async def claims(self, attempts: Collection[tuple[uuid.UUID, int]]) -> dict[tuple[uuid.UUID, int], ports.Claim]:
        self.looks += 1
        if self.looks > 1:
            self.before_second_look()
        return {key: self.claims_now[key] for key in attempts if key in self.claims_now}

    async def list_owned(self) -> AsyncIterator[list[ports.OwnedObject] | ports.Unlisted]:
        self.before_list()
        for namespace in self.unlisted:
            yield ports.Unlisted(namespace=namespace, why="forbidden")
        for kind in ("Job", "Pod"):
            for owned in [owned for owned in self.owned if owned.kind == kind]:
                yield [owned]
        if self.list_error is not None:
            raise self.list_error

    def covers(self, namespace: str) -> bool:
        return namespace == "default"

    async def find(self, namespace: str, cluster_name: str, *, cluster_uid: str | None = None) -> JobFacts | None:
        found = self.present.get(cluster_name)
        if isinstance(found, Exception):
            raise found
        return found

    async def remove_owned(self, found: ports.OwnedObject) -> None:
        if self.remove_error is not None:
            raise self.remove_error
        self.removed.append(found.uid)

    async def send(self, messages: Sequence[Outgoing]) -> None:
        self.sent += [m.message for m in messages if isinstance(m.message, Observed)]

    def now(self) -> dt.datetime:
        return NOW

    def monotonic(self) -> float:
        return 0.0

    def reconciler(self) -> Reconciler:
        world: Any = self
        return Reconciler(store=world, cluster=world, queue=world, clock=world, settings=SweepSettings())


async def run(world: World) -> reconcile.Found:
    return await world.reconciler().run_once()


@pytest.mark.asyncio
async def test_what_no_row_knows_is_removed() -> None:
    world = World(job("u-1"), job("u-2", job_id=OTHER), pod("p-1", "gone", job_id=OTHER), pod("p-2", ""))
    found = await run(world)
    assert world.removed == ["u-1", "u-2", "p-1", "p-2"]
    assert (found.orphan_jobs, found.orphan_pods, found.zombies, found.foreign) == (2, 2, 0, 0)


@pytest.mark.asyncio
async def test_a_pod_whose_job_is_there_goes_with_its_job() -> None:
    world = World(job("u-1"), pod("p-1", "u-1"))
    await run(world)
    assert world.removed == ["u-1"]


@pytest.mark.asyncio
async def test_what_a_row_knows_stays_with_its_pods() -> None:
    world = World(job("u-1"), pod("p-1", "u-1"), pod("p-2", ""), rows=[row("u-1")])
    found = await run(world)
    assert world.removed == []
    assert world.sent == []
    assert found == reconcile.Found()


@pytest.mark.parametrize(
    "fields",
    [
        {"installation": "installation-2"},
        {"installation": ""},
        {"job_id": uuid.UUID(int=0)},
        {"attempt": 0},
    ],
)
@pytest.mark.asyncio
async def test_what_is_not_surely_ours_is_counted_and_left(fields: dict[str, Any]) -> None:
    world = World(job("u-1", **fields), pod("p-1", "gone", **fields))
    found = await run(world)
    assert world.removed == []
    assert found.foreign == 2
    assert metrics.foreign_objects._value.get() == 2


@pytest.mark.asyncio
async def test_what_was_made_before_objects_carried_an_installation_is_known_by_its_uid() -> None:
    world = World(job("u-1", installation=""), rows=[row("u-1")])
    found = await run(world)
    assert (world.removed, world.sent, found.foreign) == ([], [], 0)


@pytest.mark.parametrize("fields", [{"age_seconds": 599.0}, {"deleting": True}])
@pytest.mark.asyncio
async def test_what_is_young_or_on_its_way_out_is_left(fields: dict[str, Any]) -> None:
    world = World(job("u-1", **fields), pod("p-1", "gone", **fields))
    assert await run(world) == reconcile.Found()
    assert world.removed == []


@pytest.mark.asyncio
async def test_an_object_without_a_time_is_left() -> None:
    world = World(msgspec.structs.replace(job("u-1"), created_at=None))
    await run(world)
    assert world.removed == []


@pytest.mark.asyncio
async def test_the_row_is_read_again_right_before_a_delete() -> None:
    world = World(job("u-1"))
    made = ports.Claim(job_ended=False, job_attempt=1, cluster_uid="u-1")
    world.before_second_look = lambda: world.claims_now.update({(JOB, 1): made})
    found = await run(world)
    assert (world.looks, world.removed, found.orphan_jobs) == (2, [], 0)


CLAIMS = [
    ("no job row", job("u"), None, False),
    ("its own", job("u"), ports.Claim(job_ended=False, job_attempt=1, cluster_uid="u"), True),
    (
        "its own, job ended, to be removed by its own check",
        job("u"),
        ports.Claim(job_ended=True, job_attempt=1, cluster_uid="u"),
        True,
    ),
    ("recorded as gone", job("u"), ports.Claim(job_ended=False, job_attempt=1, cluster_uid="u", gone=True), False),
    ("another uid", job("u"), ports.Claim(job_ended=False, job_attempt=1, cluster_uid="other"), False),
    ("a create in flight", job("u", attempt=2), ports.Claim(job_ended=False, job_attempt=1), True),
    ("a create in flight, its row written", job("u"), ports.Claim(job_ended=False, job_attempt=1), True),
    ("made while its job ended", job("u", attempt=2), ports.Claim(job_ended=True, job_attempt=1), False),
    ("an attempt that is over", job("u"), ports.Claim(job_ended=False, job_attempt=2), False),
    ("a pod of its own", pod("p", "u"), ports.Claim(job_ended=False, job_attempt=1, cluster_uid="u"), True),
    ("a pod that lost its owner", pod("p", ""), ports.Claim(job_ended=False, job_attempt=1, cluster_uid="u"), True),
    (
        "the same once all is over",
        pod("p", ""),
        ports.Claim(job_ended=True, job_attempt=1, cluster_uid="u", gone=True),
        False,
    ),
    ("a pod of another Job", pod("p", "x"), ports.Claim(job_ended=False, job_attempt=1, cluster_uid="u"), False),
]


@pytest.mark.parametrize(("owned", "claim", "wanted"), [case[1:] for case in CLAIMS], ids=[case[0] for case in CLAIMS])
def test_who_claims_what(owned: ports.OwnedObject, claim: ports.Claim | None, wanted: bool) -> None:
    assert claimed(owned, claim) is wanted


@pytest.mark.asyncio
async def test_deletes_are_bounded_and_go_on_in_the_next_round() -> None:
    world = World(*(job(f"u-{number}", attempt=number) for number in range(1, 71)))
    found = await run(world)
    assert found.orphan_jobs == len(world.removed) == reconcile.MOST_DELETES
    world.owned = [owned for owned in world.owned if owned.uid not in world.removed]
    assert (await run(world)).orphan_jobs == 20


@pytest.mark.asyncio
async def test_a_delete_that_fails_is_counted_and_the_others_go_on() -> None:
    world = World(job("u-1"), job("u-2", attempt=2))
    world.remove_error = TemporaryError("busy")
    assert (await run(world)).failed == 2


@pytest.mark.asyncio
async def test_a_row_without_anything_in_the_cluster_is_reported_as_gone() -> None:
    world = World(job("u-1"), rows=[row("u-1"), row("u-2", OTHER)])
    found = await run(world)
    assert [(m.job_id, m.attempt, m.seen) for m in world.sent] == [(OTHER, 1, JobFacts(uid="u-2", gone=True))]
    assert found.zombies == 1


@pytest.mark.parametrize(("namespace", "wanted"), [("default", ["p-1"]), ("elsewhere", [])])
@pytest.mark.asyncio
async def test_the_pods_that_are_gone_with_it_are_reported_where_the_list_would_have_shown_them(
    namespace: str, wanted: list[str]
) -> None:
    lost = msgspec.structs.replace(row("u-1"), pod_uids=("p-1", "p-2"), namespace=namespace)
    world = World(pod("p-2", "u-1"), rows=[lost])
    found = await run(world)
    gone_pods = [PodFacts(uid=uid, gone=True) for uid in wanted]
    assert [m.seen for m in world.sent] == [JobFacts(uid="u-1", gone=True), *gone_pods]
    assert (found.zombies, found.orphan_pods) == (1, 0)


@pytest.mark.parametrize(
    ("present", "zombies", "failed"),
    [
        (JobFacts(uid="u-1"), 0, 0),
        (JobFacts(uid="another"), 1, 0),
        (TemporaryError("busy"), 0, 1),
    ],
    ids=["in a namespace that is not listed", "replaced", "no answer"],
)
@pytest.mark.asyncio
async def test_a_missing_cluster_job_is_looked_at_before_it_is_reported(
    present: JobFacts | Exception, zombies: int, failed: int
) -> None:
    world = World(rows=[row("u-1")])
    world.present["name-of-u-1"] = present
    found = await run(world)
    assert (len(world.sent), found.zombies, found.failed) == (zombies, zombies, failed)


@pytest.mark.asyncio
async def test_a_row_that_came_after_the_list_began_is_no_zombie() -> None:
    world = World()
    world.before_list = lambda: world.rows.append(row("u-1"))
    await run(world)
    assert world.sent == []


@pytest.mark.asyncio
async def test_from_half_a_list_nothing_is_concluded() -> None:
    world = World(job("u-9", attempt=9), rows=[row("u-1")])
    world.list_error = TemporaryError("the list expired")
    with pytest.raises(TemporaryError):
        await run(world)
    assert (world.removed, world.sent) == ([], [])


@pytest.mark.asyncio
async def test_all_rows_are_read_page_by_page() -> None:
    many = [row(f"u-{n}", attempt=n) for n in range(1, 2 * reconcile.PAGE_ROWS + 2)]
    world = World(*(job(f"u-{n}", attempt=n) for n in range(1, len(many) + 1)), rows=many)
    assert await run(world) == reconcile.Found()


@pytest.mark.asyncio
async def test_nothing_is_concluded_of_a_namespace_that_could_not_be_listed() -> None:
    world = World(job("u-3", job_id=OTHER), rows=[row("u-1"), row("u-2", OTHER, namespace="closed")])
    world.unlisted = ["closed"]
    found = await run(world)
    assert (found.zombies, found.failed) == (1, 1)
    assert [(m.job_id, m.seen) for m in world.sent] == [(JOB, JobFacts(uid="u-1", gone=True))]
    assert world.removed == ["u-3"]  # what is seen in the others is judged as always


@pytest.mark.asyncio
async def test_rows_of_namespaces_that_are_ours_no_more_come_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconcile, "MOST_ZOMBIES", 1)
    world = World(rows=[row("u-1", namespace="elsewhere"), row("u-2", OTHER)])
    found = await run(world)
    assert [m.job_id for m in world.sent] == [OTHER]
    assert found.zombies == 1


@pytest.mark.asyncio
async def test_a_sweeper_whose_claims_are_refused_removes_nothing() -> None:
    world = World(job("u-1"))

    async def claims(_attempts: object) -> dict[tuple[uuid.UUID, int], ports.Claim]:
        raise LeaseLost

    world.claims = claims  # type: ignore[assignment]
    with pytest.raises(LeaseLost):
        await run(world)
    assert world.removed == []
