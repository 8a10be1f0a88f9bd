"""Query strings as typed queries."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kube_job_runner.web.api.list_jobs import ListQuery
from kube_job_runner.web.kit.problems import RequestProblem
from kube_job_runner.web.kit.queries import QueryDecoder


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
