"""Refusals: what answers of the API server mean, by rows of the failure table and by rows of their own."""

from __future__ import annotations

import pytest

from kube_job_runner.domain import failures
from kube_job_runner.domain.failures import categories, refusals
from kube_job_runner.domain.failures.refusals import Refusal


@pytest.mark.parametrize("refusal", refusals.REFUSALS, ids=[one.category for one in refusals.REFUSALS])
def test_every_row_is_whole(refusal: Refusal) -> None:
    assert refusal.category in categories.BY_NAME
    assert refusal.reason == categories.BY_NAME[refusal.category].code
    assert refusal.retry_seconds >= 1.0


def test_the_rows_of_the_table_that_mean_a_refusal_are_these() -> None:
    found = {rule.name: rule.refusal.category for rule in failures.RULES if rule.refusal is not None}
    assert found == {
        "api-too-large": "spec_rejected",
        "webhook-denied": "admission_denied",
        "quota-zero": "quota_exceeded",
        "quota-full": "quota_exceeded",
        "quota-busy": "quota_exceeded",
        "namespace-terminating": "namespace_terminating",
        "rbac": "forbidden",
    }


def test_only_answers_of_the_api_server_are_refusals() -> None:
    assert {rule.where for rule in failures.RULES if rule.refusal is not None} == {"api"}


def test_a_text_has_its_meaning_with_some_status_codes_only() -> None:
    assert refusals.QUOTA_EXCEEDED.holds_for(403)
    assert not refusals.QUOTA_EXCEEDED.holds_for(404)
    assert refusals.SPEC_REJECTED.holds_for(500)


def test_an_outage_passes_by_itself() -> None:
    temporary = {one.reason for one in refusals.REFUSALS if not one.permanent}
    assert temporary >= refusals.OUTAGES
