"""`kjr rebind`: what it says, and that nothing changes without a yes."""

from __future__ import annotations

from kube_job_runner.bootstrap.relocating import Move
from kube_job_runner.ports import ClusterIdentity
from tests.unit.cli.conftest import Kjr
from tests.unit.cli.stand_in import Bootstrap


def identity(uid: str) -> ClusterIdentity:
    return ClusterIdentity(kind="kubernetes", evidence="namespace kube-system", uid=uid, place=f"https://{uid}:6443")


def test_it_moves_only_with_a_yes(kjr: Kjr, bootstrap: Bootstrap) -> None:
    bootstrap.move = Move(bound=[identity("old")], found=identity("new"), live=3, waiting=7)
    refused = kjr("rebind")
    assert refused.code == 1
    assert "nothing was changed; add --yes" in refused.err
    assert "https://old:6443" in refused.err
    assert "https://new:6443" in refused.err
    assert "3 jobs may be in the old cluster" in refused.err
    moved = kjr("rebind", "--yes")
    assert moved.code == 0
    assert "3 jobs were recorded as failed" in moved.err


def test_the_same_cluster_needs_no_move(kjr: Kjr, bootstrap: Bootstrap) -> None:
    bootstrap.move = Move(bound=[identity("one")], found=identity("one"), live=3, waiting=7)
    same = kjr("rebind", "--yes")
    assert same.code == 0
    assert "already" in same.err
