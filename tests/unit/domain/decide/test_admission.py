"""Limits per queue, and where a job stands, in words."""

from __future__ import annotations

from typing import Any

import pytest

from kube_job_runner.domain.decide.admission import POSITION_MAX, QueueStanding, words
from kube_job_runner.domain.limits import AdmissionLimits


def standing(**fields: Any) -> QueueStanding:
    defaults: dict[str, Any] = {
        "queue": "etl", "ahead": 3, "queue_in_flight": 10, "queue_limit": 10, "total_in_flight": 40, "total_limit": 500,
    }  # fmt: skip
    return QueueStanding(**(defaults | fields))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, "Waiting: 4th in queue etl; the queue runs 10 of 10."),
        ({"ahead": 0}, "Waiting: next in queue etl; the queue runs 10 of 10."),
        ({"ahead": 1}, "Waiting: 2nd in queue etl; the queue runs 10 of 10."),
        ({"ahead": 2}, "Waiting: 3rd in queue etl; the queue runs 10 of 10."),
        ({"ahead": 10}, "Waiting: 11th in queue etl; the queue runs 10 of 10."),
        ({"ahead": 20}, "Waiting: 21st in queue etl; the queue runs 10 of 10."),
        ({"ahead": 111}, "Waiting: 112th in queue etl; the queue runs 10 of 10."),
        ({"ahead": 9_999}, "Waiting: 10,000th in queue etl; the queue runs 10 of 10."),
        ({"ahead": POSITION_MAX}, "Waiting: at least 10,000 jobs are ahead in queue etl; the queue runs 10 of 10."),
        ({"queue_in_flight": 12}, "Waiting: 4th in queue etl; the queue runs 12 of 10."),
        ({"queue_limit": 0, "queue_in_flight": 0}, "Waiting: 4th in queue etl; the queue is held, its limit is 0."),
        (
            {"queue_limit": None, "total_in_flight": 1500, "total_limit": 1500},
            "Waiting: 4th in queue etl; the installation runs 1,500 of 1,500.",
        ),
        (
            {"queue_in_flight": 9, "total_in_flight": 500},
            "Waiting: 4th in queue etl; the installation runs 500 of 500.",
        ),
        ({"queue_limit": None}, "Waiting: 4th in queue etl; there is room, no processor has taken it yet."),
    ],
)
def test_words(fields: dict[str, Any], expected: str) -> None:
    assert words(standing(**fields)) == expected


def test_a_position_is_exact_as_far_as_it_is_counted() -> None:
    near, far = standing(ahead=POSITION_MAX - 1), standing(ahead=POSITION_MAX)
    assert (near.position, near.position_is_exact) == (10_000, True)
    assert (far.position, far.position_is_exact) == (10_001, False)


def test_a_queue_has_its_own_limit_or_the_default() -> None:
    limits = AdmissionLimits(per_queue=5, queues={"etl": 10, "held": 0})
    assert [limits.of_queue(name) for name in ("etl", "held", "web")] == [10, 0, 5]
    assert AdmissionLimits().of_queue("web") is None
