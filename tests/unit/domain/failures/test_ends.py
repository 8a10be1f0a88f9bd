"""Built-in ends: each row is whole, and its verdict is filled from it."""

from __future__ import annotations

import re
from typing import get_args

import pytest

from kube_job_runner.domain.failures import categories, ends
from kube_job_runner.domain.failures.ends import End
from kube_job_runner.domain.job import Cause
from kube_job_runner.domain.states import TERMINAL, State


@pytest.mark.parametrize("end", ends.ENDS, ids=[end.category for end in ends.ENDS])
def test_every_row_is_whole(end: End) -> None:
    assert end.category in categories.BY_NAME
    assert end.outcome in TERMINAL
    assert end.cause in get_args(Cause)
    assert end.remedy == "" or end.remedy.endswith(".")
    assert bool(end.explanation) == (end.outcome is not State.SUCCEEDED)
    assert end.outcome is State.FAILED or not end.cause


def test_there_is_one_row_per_category() -> None:
    assert len(ends.BY_CATEGORY) == len(ends.BY_REASON) == len(ends.ENDS)


def test_every_end_of_a_job_of_its_own_has_a_remedy() -> None:
    """The other ends are explained by rows of the failure table as well, which name the remedy."""
    without = {end.category for end in ends.ENDS if end.outcome is State.FAILED and not end.remedy}
    assert without == {"disrupted"}


def test_a_verdict_is_filled_from_its_row() -> None:
    verdict = ends.APPLICATION_EXIT.verdict(exit_code=9, signal=None, container="main")
    assert (verdict.outcome, verdict.reason, verdict.cause) == (State.FAILED, "ApplicationExit", "application")
    assert verdict.explanation == "Container main exited with code 9."
    assert (verdict.exit_code, verdict.signal, verdict.rule) == (9, None, "")


def test_texts_of_others_are_never_taken_for_places() -> None:
    verdict = ends.POD_LOST.verdict(message="{0} {exit_code}")
    assert "({0} {exit_code})" in verdict.explanation


def test_a_place_that_is_empty_leaves_no_space_at_the_end() -> None:
    assert ends.QUEUE_TIMEOUT.verdict(seconds=5, last_try="").explanation == "The job waited for 5 s and did not start."


def test_a_refused_job_has_the_reason_of_the_answer() -> None:
    verdict = ends.refused("AdmissionDenied", "policy says {no}")
    assert (verdict.reason, verdict.cause, verdict.outcome) == ("AdmissionDenied", "permanent", State.FAILED)
    assert verdict.explanation == "The cluster refused the job: policy says {no}"


def test_the_places_of_the_rows_are_these() -> None:
    found = {end.category: set(re.findall(r"\{(\w+)\}", end.explanation)) for end in ends.ENDS}
    assert {name: places for name, places in found.items() if places} == {
        "cancelled": {"by", "why"},
        "application_exit": {"container", "exit_code"},
        "run_timeout": {"seconds"},
        "start_timeout": {"seconds", "waited_for"},
        "queue_timeout": {"seconds", "last_try"},
        "other_container_failed": {"failed", "program"},
        "cluster_replaced": {"place"},
        "pod_lost": {"message"},
        "disrupted": {"node", "reason", "message"},
    }
