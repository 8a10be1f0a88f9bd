"""Connections stay below the limit of open files."""

from __future__ import annotations

import resource

import pytest

from kube_job_runner.web.wire import descriptors


def test_connections_leave_descriptors_to_the_rest_of_the_process() -> None:
    assert descriptors.connections_max(4096, limit=16_384) == 4096
    assert descriptors.connections_max(4096, limit=4096) == 4096 - descriptors.KEPT
    assert descriptors.connections_max(4096, limit=1024) == 512
    assert descriptors.connections_max(100, limit=1024) == 100


@pytest.mark.parametrize(("hard", "expected"), [(100_000, 16_384), (4096, 4096), (resource.RLIM_INFINITY, 16_384)])
def test_the_soft_limit_is_raised_as_far_as_the_hard_one_allows(
    hard: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _which: (1024, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda _which, limits: given.append(limits))
    assert descriptors.raise_limit() == expected
    assert given == [(expected, hard)]


def test_a_limit_that_is_refused_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_which: int, _limits: tuple[int, int]) -> None:
        raise OSError("not permitted")

    monkeypatch.setattr(resource, "getrlimit", lambda _which: (1024, 4096))
    monkeypatch.setattr(resource, "setrlimit", refuse)
    assert descriptors.raise_limit() == 1024
