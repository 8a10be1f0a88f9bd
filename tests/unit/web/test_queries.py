"""Label selectors, cursors and the query string."""

from __future__ import annotations

import re
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kube_job_runner.services import listing
from kube_job_runner.web.api.queries import ListQuery
from kube_job_runner.web.kit.problems import RequestProblem
from kube_job_runner.web.kit.queries import QueryDecoder


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("", ()),
        ("  ", ()),
        ("team=a", (("team", "in", ("a",)),)),
        ("team==a", (("team", "in", ("a",)),)),
        ("team = a , tier!=db", (("team", "in", ("a",)), ("tier", "notin", ("db",)))),
        ("team=", (("team", "in", ("",)),)),
        ("example.com/team in (a, b)", (("example.com/team", "in", ("a", "b")),)),
        ("team notin (a)", (("team", "notin", ("a",)),)),
        ("team", (("team", "exists", ()),)),
        ("!team", (("team", "!exists", ()),)),
        ("! team,in", (("team", "!exists", ()), ("in", "exists", ()))),
        ("in in (in)", (("in", "in", ("in",)),)),
    ],
)
def test_selector(text: str, terms: tuple[Any, ...]) -> None:
    assert listing.parse_selector(text) == terms


@pytest.mark.parametrize(
    "text", [",", "a,", "a=b=c", "a in", "a in ()x", "a in (b", "a in b)", "(a)", "a=-b", "!a=b", "a/b/c=d", "ä=b"]
)
def test_bad_selector(text: str) -> None:
    with pytest.raises(listing.SelectorError):
        listing.parse_selector(text)


@given(st.from_regex(listing.SELECTOR_PATTERN))
def test_every_selector_that_the_document_describes_is_read(text: str) -> None:
    assert bool(listing.parse_selector(text)) is bool(text.strip())


@given(st.uuids())
def test_a_cursor_comes_back(job_id: UUID) -> None:
    cursor = listing.encode_cursor(job_id)
    assert re.search(listing.CURSOR_PATTERN, cursor)
    assert listing.decode_cursor(cursor) == job_id


@given(st.from_regex(listing.CURSOR_PATTERN))
def test_every_cursor_that_the_document_describes_is_read(cursor: str) -> None:
    assert listing.encode_cursor(listing.decode_cursor(cursor)) == cursor


@given(st.binary(max_size=60))
def test_any_query_string_is_read_or_refused(query: bytes) -> None:
    status = 200
    try:
        QueryDecoder(ListQuery).decode(query)
    except RequestProblem as problem:
        status = problem.type.status
    assert status in (200, 400, 422)


def test_states_may_be_repeated_and_joined() -> None:
    query = QueryDecoder(ListQuery).decode(b"state=queued,running&state=failed&limit=7")
    assert (query.state, query.limit) == (("queued", "running", "failed"), 7)
