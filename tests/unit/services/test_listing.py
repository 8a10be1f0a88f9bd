"""Lists of jobs: cursors, and filters that cannot be used."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kube_job_runner.services import listing


@given(st.uuids())
def test_a_cursor_comes_back(job_id: UUID) -> None:
    cursor = listing.encode_cursor(job_id)
    assert re.search(listing.CURSOR_PATTERN, cursor)
    assert listing.decode_cursor(cursor) == job_id


@given(st.from_regex(listing.CURSOR_PATTERN))
def test_every_cursor_that_the_document_describes_is_read(cursor: str) -> None:
    assert listing.encode_cursor(listing.decode_cursor(cursor)) == cursor


def test_all_faults_of_a_filter_are_reported_at_once() -> None:
    before_year_1 = datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14)))
    with pytest.raises(listing.WrongFilter) as caught:
        listing.job_filter(labels="a b", created_after=before_year_1, cursor="x")
    assert [fault.field for fault in caught.value.faults] == ["labels", "created_after", "cursor"]


def test_a_filter_takes_categories_for_reasons_and_keeps_times_in_the_range_of_the_store() -> None:
    wanted = listing.job_filter(reason="out_of_memory", created_after=datetime(1900, 1, 1, tzinfo=UTC), labels="a=b")
    assert (wanted.reason, wanted.labels) == ("OutOfMemory", (("a", "in", ("b",)),))
    assert wanted.created_after == datetime(1970, 1, 2, tzinfo=UTC)
    assert listing.job_filter(reason="MyOwn").reason == "MyOwn"
