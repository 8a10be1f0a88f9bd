"""The check of the cluster's identity: what is another cluster, and when it is asked again."""

from __future__ import annotations

from typing import Any

import pytest

from kube_job_runner.domain.errors import TemporaryError, WrongCluster
from kube_job_runner.domain.failures import refusals
from kube_job_runner.ports import ClusterIdentity
from kube_job_runner.services.cluster_identity import IdentityCheck, compare


def identity(uid: str, *, kind: str = "kubernetes", evidence: str = "namespace kube-system") -> ClusterIdentity:
    return ClusterIdentity(kind=kind, evidence=evidence, uid=uid, place=f"https://{uid}")


class World:
    """Cluster, store and clock."""

    def __init__(self) -> None:
        self.found: ClusterIdentity | Exception | None = identity("one")
        self.bound: list[ClusterIdentity] = []
        self.asked = 0
        self.time = 0.0
        world: Any = self
        self.check = IdentityCheck(world, world, world, fresh_seconds=30.0)

    async def identity(self) -> ClusterIdentity | None:
        self.asked += 1
        if isinstance(self.found, Exception):
            raise self.found
        return self.found

    async def bind_cluster(self, found: ClusterIdentity) -> list[ClusterIdentity]:
        self.bound = self.bound or [found]
        return self.bound

    def monotonic(self) -> float:
        return self.time


def test_what_is_another_cluster() -> None:
    compare(identity("one"), [identity("one")])
    compare(identity("two", evidence="namespace jobs"), [identity("one")])
    for other in (identity("two"), identity("one", kind="local", evidence="data directory")):
        with pytest.raises(WrongCluster) as raised:
            compare(other, [identity("one")])
        assert str(identity("one")) in str(raised.value)
        assert str(other) in str(raised.value)
        assert "kjr rebind" in str(raised.value)


@pytest.mark.asyncio
async def test_an_answer_counts_for_a_while() -> None:
    world = World()
    await world.check.check()
    await world.check.check()
    assert world.asked == 1
    world.time = 31.0
    await world.check.check()
    assert world.asked == 2
    world.found, world.time = identity("two"), 62.0
    with pytest.raises(WrongCluster):
        await world.check.check()


@pytest.mark.asyncio
async def test_nothing_is_done_before_the_cluster_is_known() -> None:
    world = World()
    world.found = TemporaryError("away")
    with pytest.raises(TemporaryError):
        await world.check.check()


@pytest.mark.asyncio
async def test_a_known_cluster_that_does_not_answer_is_still_the_same() -> None:
    world = World()
    await world.check.check()
    world.found, world.time = TemporaryError("away"), 31.0
    await world.check.check()


@pytest.mark.asyncio
async def test_after_a_lost_connection_it_is_asked_again() -> None:
    world = World()
    await world.check.check()

    async def lost() -> None:
        raise TemporaryError("no answer", reason=refusals.CLUSTER_UNAVAILABLE.reason)

    with pytest.raises(TemporaryError):
        await world.check.watched(lost())
    world.found = identity("two")
    with pytest.raises(WrongCluster):
        await world.check.check()


@pytest.mark.asyncio
async def test_an_identity_that_may_not_be_read_stops_nothing() -> None:
    world = World()
    world.found = None
    await world.check.check()
    assert world.bound == []
