"""Ids are shortened as far as they stay unique."""

from __future__ import annotations

from kube_job_runner.cli.terminal import output


def test_short_ids_are_as_long_as_they_must_be() -> None:
    ids = [
        "019ac7d3-5b5e-7c1a-8000-0123456789ab",
        "019ac7d3-5b5e-7c1a-8100-0123456789ab",
        "019ac7d3-0000-7c1a-8000-0123ffffffff",
    ]
    assert [*output.short_ids(ids).values()] == ["000-0123456789ab", "100-0123456789ab", "ffffffff"]
    twice = output.short_ids([ids[0], ids[0]])
    assert twice == {ids[0]: "456789ab"}
