"""`traceparent` on what stores jobs: kept when it is valid, ignored when it is not, and spans only of what was stored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import httpx2
import pytest

from kube_job_runner.domain.record import trace
from kube_job_runner.domain.record.trace import Span, TraceContext
from kube_job_runner.domain.states import State
from kube_job_runner.web.app import build_app
from tests.unit.web.conftest import World

pytestmark = pytest.mark.asyncio
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
PARENT = trace.parse(TRACEPARENT)


class Recorder:
    """A tracer that keeps its spans; their ids count up."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.begun = 0

    def begin(self, parent: TraceContext | None) -> TraceContext:
        self.begun += 1
        trace_id = f"{self.begun:032x}" if parent is None else parent.trace_id
        return TraceContext(trace_id=trace_id, span_id=f"{self.begun:016x}", sampled=parent is None or parent.sampled)

    def record(self, spans: Sequence[Span]) -> None:
        self.spans += spans


@pytest.fixture
def recorder(world: World) -> Recorder:
    made = Recorder()
    ports: dict[str, Any] = {"tokens": world.tokens, "health": world.health, "wakeup": world.wakeup, "logs": world.logs}
    world.app = build_app(
        settings=world.settings,
        submit_store=world.store,
        reader=world.store,
        clock=world.clock,
        tracer=made,
        **ports,
    )
    return made


async def submit(client: httpx2.AsyncClient, traceparent: str | None = TRACEPARENT, **headers: str) -> httpx2.Response:
    if traceparent is not None:
        headers["traceparent"] = traceparent
    answer = await client.post("/v1/jobs", json={"image": "busybox"}, headers=headers)
    assert answer.status_code == 201, answer.text
    return answer


@pytest.mark.parametrize(
    ("given", "kept"),
    [(None, None), (TRACEPARENT, TRACEPARENT), (f"  {TRACEPARENT} ", TRACEPARENT), ("00-zz", None), ("\xe9", None)],
)
async def test_where_we_make_no_spans_a_valid_one_is_passed_on(
    world: World, client: httpx2.AsyncClient, given: str | None, kept: str | None
) -> None:
    headers = {} if given is None else {b"traceparent": given.encode("latin-1")}
    answer = await client.post("/v1/jobs", json={"image": "busybox"}, headers=headers)
    assert answer.status_code == 201
    assert [job.traceparent for job in world.store.jobs.values()] == [kept]


async def test_a_job_is_stored_with_the_span_of_its_submit(
    world: World, recorder: Recorder, client: httpx2.AsyncClient
) -> None:
    async with world.client() as client:
        await submit(client)
        await submit(client, None)
    first, second = recorder.spans
    assert [job.traceparent for job in world.store.jobs.values()] == [first.context.header, second.context.header]
    assert (first.parent, second.parent) == (PARENT, None)
    assert first.context.trace_id != second.context.trace_id


async def test_an_answer_that_is_given_again_makes_no_span(world: World, recorder: Recorder) -> None:
    other = TRACEPARENT.replace("4bf92f", "000001")
    async with world.client() as client:
        answers = [await submit(client, one, **{"Idempotency-Key": "k"}) for one in (TRACEPARENT, other)]
    assert answers[0].content == answers[1].content
    assert [span.parent for span in recorder.spans] == [PARENT]


async def test_of_a_batch_only_what_was_stored_has_a_span(world: World, recorder: Recorder) -> None:
    jobs = [{"image": "a"}, {"image": ""}, {"image": "b"}]
    async with world.client() as client:
        await client.post("/v1/jobs:batch", json={"jobs": jobs}, headers={"traceparent": TRACEPARENT})
    assert [span.parent for span in recorder.spans] == [PARENT, PARENT]
    assert {span.context.header for span in recorder.spans} == {job.traceparent for job in world.store.jobs.values()}


async def test_a_rerun_is_linked_to_what_it_runs_again(world: World, recorder: Recorder) -> None:
    async with world.client() as client:
        job_id = (await submit(client)).json()["id"]
        [first] = world.store.jobs.values()
        world.store.change(first.id, state=State.FAILED)
        answer = await client.post(f"/v1/jobs/{job_id}:rerun", json={}, headers={"traceparent": TRACEPARENT})
        assert answer.status_code == 201, answer.text
    submitted, again = recorder.spans
    assert (again.parent, again.links) == (PARENT, (submitted.context,))


async def test_what_is_not_sampled_is_stored_and_makes_no_span(world: World, recorder: Recorder) -> None:
    async with world.client() as client:
        await submit(client, TRACEPARENT[:-2] + "00")
    assert recorder.spans == []
    [job] = world.store.jobs.values()
    assert (job.traceparent or "").endswith("-00")
