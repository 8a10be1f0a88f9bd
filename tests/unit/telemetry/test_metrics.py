"""Metrics: named as the reference says, with labels that have a bound, and figures that fade when nobody measures."""

from __future__ import annotations

import asyncio
import datetime as dt
import re
import uuid
from pathlib import Path

import pytest

from kube_job_runner import ports
from kube_job_runner.bootstrap import lifetime
from kube_job_runner.components import loops, sweeper
from kube_job_runner.domain.errors import DatabaseUnavailable, TemporaryError
from kube_job_runner.domain.facts import Condition, ContainerFacts, EventFacts, JobFacts, PodFacts, latest_at
from kube_job_runner.domain.job import Job, Transition
from kube_job_runner.domain.states import State
from kube_job_runner.services.pipeline import job_metrics
from kube_job_runner.services.readiness import Age, DepthMeter, Readiness
from kube_job_runner.settings.groups import SweepSettings
from kube_job_runner.telemetry import metrics as ours
from kube_job_runner.telemetry.kinds import OTHER, Bounded, DepthFigures, Heartbeats
from tests.support import metrics

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "metrics.md"
FREE_LABELS = {"job_id", "job", "name", "pod", "user", "owner", "image", "node", "label"}
NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def page() -> str:
    """Return the reference page as it must be; write it with `python -m tests.unit.telemetry.test_metrics`."""
    lines = [
        "# Metrics",
        "",
        "Every process serves its own metrics at `/metrics`, in the Prometheus text format and without a token: the web server",
        "on its port, other components on `KJR_METRICS_PORT`. See also how to [monitor](../how-to/monitor.md). Only the sweeper",
        "measures the whole installation (`kjr_queue_*`, `kjr_jobs`, `kjr_dead_letters`, `kjr_outbox_oldest_seconds`), every ten",
        "seconds, and shows the result for a minute. Take the `max` of these gauges, and the `sum` of counters.",
        "",
        "Labels are bounded. `queue` has the values `default`, the queues of `KJR_QUEUE_LIMITS` and the first others, up to 32;",
        "every further queue is `other`. `cause` is a reason code (`kjr explain CODE`). `operation` is an operation of the API.",
        "No metric has a job id, a name or a label of a user. Names and labels are part of the interface: the changelog lists",
        "their changes.",
        "",
        "| metric | kind | labels | component | meaning |",
        "|---|---|---|---|---|",
    ]
    for metric in metrics.registered():
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        lines.append(f"| `{metric.name}` | {metric.kind} | {labels} | {metric.component} | {metric.text} |")
    return "\n".join(lines) + "\n"


def value(name: str, **labels: str) -> float | None:
    return ours.REGISTRY.get_sample_value(name, labels)


def test_the_reference_page_is_what_the_registry_says() -> None:
    assert PAGE.read_text() == page()


def test_names_have_base_units_and_no_label_is_free() -> None:
    for metric in metrics.registered():
        assert re.fullmatch(r"(kjr|process)_[a-z_]+", metric.name)
        assert metric.kind != "histogram" or metric.name.endswith("_seconds"), metric
        assert not FREE_LABELS & set(metric.labels), metric
        assert metric.text.strip().endswith("."), metric


def test_the_names_that_are_promised_are_there() -> None:
    found = {metric.name: metric.labels for metric in metrics.registered()}
    promised: dict[str, tuple[str, ...]] = {
        "kjr_jobs_submitted_total": (),
        "kjr_jobs_finished_total": ("queue", "outcome", "cause"),
        "kjr_job_phase_seconds": ("phase", "queue"),
        "kjr_queue_jobs": ("queue", "state"),
        "kjr_queue_oldest_seconds": (),
        "kjr_watch_lag_seconds": ("kind",),
        "kjr_drift_total": ("kind",),
        "kjr_outbox_oldest_seconds": (),
        "kjr_build_info": ("version",),
    }
    assert {name: found[name] for name in promised} == promised


def test_a_label_has_a_bound() -> None:
    label = Bounded(3)
    label.keep(["gold"])
    assert [label(queue) for queue in ("a", "b", "c", "a", "gold", "", "x" * 64)] == [
        "a", "b", OTHER, "a", "gold", OTHER, OTHER,
    ]  # fmt: skip


def _depth(**changes: object) -> ports.QueueDepth:
    fields: dict[str, object] = {
        "jobs_by_state": {"queued": 7},
        "jobs_by_queue": {("etl", "queued"): 4, ("gpu", "running"): 1, ("one", "queued"): 1, ("two", "queued"): 2},
        "messages": 5,
        "oldest_message_seconds": 1.5,
        "outbox_oldest_seconds": 2.5,
        "dead_letters": 3,
    }
    return ports.QueueDepth(**{**fields, **changes})  # type: ignore[arg-type]


def samples(figures: DepthFigures) -> dict[tuple[str, ...], float]:
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in figures.collect()
        for sample in family.samples
    }


def test_the_figures_of_the_queue_fade_when_nobody_measures() -> None:
    now = [100.0]
    figures = DepthFigures(Bounded(2), lambda: now[0])
    assert samples(figures) == {}
    figures.set(_depth())
    found = samples(figures)
    assert found["kjr_jobs", "queued"] == 7
    assert found["kjr_queue_jobs", "etl", "queued"] == 4
    assert found["kjr_queue_jobs", OTHER, "queued"] + found["kjr_queue_jobs", "two", "queued"] == 3, "the largest first"
    assert sum(count for key, count in found.items() if key[0] == "kjr_queue_jobs") == 8
    assert (found["kjr_queue_oldest_seconds",], found["kjr_outbox_oldest_seconds",]) == (1.5, 2.5)
    now[0] += 61
    assert samples(figures) == {}
    figures.set(_depth())
    figures.clear()
    assert samples(figures) == {}


class Clock:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def now(self) -> dt.datetime:
        return dt.datetime.fromtimestamp(self.seconds, dt.UTC)

    def monotonic(self) -> float:
        return self.seconds


class Health:
    def __init__(self) -> None:
        self.error: Exception | None = None
        self.asked = 0

    async def check(self) -> dict[str, str | None]:
        self.asked += 1
        if self.error:
            raise self.error
        return {"database": None, "schema": None}

    async def depth(self) -> ports.QueueDepth:
        if self.error:
            raise self.error
        return _depth()


@pytest.mark.asyncio
async def test_the_depth_is_measured_and_a_failure_is_counted() -> None:
    health = Health()
    await DepthMeter(health).run_once()
    assert value("kjr_queue_messages") == 5
    health.error = DatabaseUnavailable("away")
    before = value("kjr_depth_failures_total") or 0
    await DepthMeter(health).run_once()
    assert value("kjr_depth_failures_total") == before + 1
    ours.depth_figures.clear()


@pytest.mark.asyncio
@pytest.mark.looptime
async def test_the_sweeper_measures_and_shows_nothing_once_it_ended() -> None:
    class Rounds:
        async def run_once(self) -> dict[str, int]:
            return {}

        def more_to_do(self, counts: dict[str, int]) -> bool:
            return False

    health, stop = Health(), asyncio.Event()
    running = asyncio.create_task(
        sweeper.run(Rounds(), settings=SweepSettings(), stop=stop, depth=DepthMeter(health))  # type: ignore[arg-type]
    )
    await asyncio.sleep(1)
    assert value("kjr_queue_messages") == 5
    health.error = RuntimeError("a bug of ours")
    before = value("kjr_depth_failures_total") or 0
    await asyncio.sleep(30)
    assert (value("kjr_depth_failures_total") or 0) >= before + 2, "a bug in the measurement stops nothing"
    assert not running.done()
    stop.set()
    await running
    assert value("kjr_queue_messages") is None


@pytest.mark.asyncio
async def test_readiness_asks_the_store_once_a_second_and_probes_at_once() -> None:
    health, clock, wrong = Health(), Clock(), [None, "silent", None]
    readiness = Readiness(health, clock, {"watch-jobs": lambda: wrong[0]})
    assert await readiness.report() == (True, "[+]draining ok\n[+]database ok\n[+]schema ok\n[+]watch-jobs ok\nready\n")
    wrong[0] = "silent"
    ready, text = await readiness.report()
    assert (ready, text.splitlines()[3], health.asked) == (False, "[-]watch-jobs failed: silent", 1)
    assert value("kjr_ready", check="watch-jobs") == 0
    relaxed = Readiness(health, clock, {"watch-jobs": lambda: wrong[0]}, advisory=True)
    assert (await relaxed.report())[1].splitlines()[3:] == ["[!]watch-jobs warning: silent", "ready"]
    health.error = DatabaseUnavailable("no answer")
    clock.seconds += 1
    assert (await relaxed.report())[1].splitlines()[1] == "[-]database failed: no answer"


def test_silence_is_told_once_it_lasts() -> None:
    clock = Clock()
    beats = Heartbeats(ours.watch_last_event)
    age = Age(beats, "unit", clock, max_seconds=60, silence="nothing heard")
    clock.seconds += 60
    assert age() is None, "counted from the start of the process"
    clock.seconds += 1
    assert age() == "nothing heard for 61 s"
    beats.beat("unit", clock.seconds)
    assert age() is None
    assert value("kjr_watch_last_event_timestamp_seconds", kind="unit") == clock.seconds


@pytest.mark.asyncio
@pytest.mark.looptime
async def test_rounds_are_counted_by_how_they_ended() -> None:
    stop = asyncio.Event()
    ends: list[Exception | None] = [None, TemporaryError("away"), RuntimeError("a bug")]

    async def round_() -> float:
        error = ends.pop(0)
        if error is not None:
            raise error
        return 0.0

    with pytest.raises(RuntimeError):
        await loops.repeat(round_, stop=stop, what="unit")
    counts = {
        outcome: value("kjr_rounds_total", component="unit", outcome=outcome)
        for outcome in ("ok", "temporary", "error")
    }
    assert counts == {"ok": 1, "temporary": 1, "error": 1}
    assert value("kjr_round_last_success_timestamp_seconds", component="unit")


@pytest.mark.asyncio
@pytest.mark.looptime
async def test_a_process_tells_its_components_its_drain_and_the_lag_of_its_loop() -> None:
    stop, drained, beside_ended = asyncio.Event(), asyncio.Event(), asyncio.Event()
    lags = value("kjr_event_loop_lag_seconds_count") or 0

    async def component() -> None:
        await stop.wait()
        await drained.wait()

    async def beside() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            beside_ended.set()

    running = asyncio.create_task(
        lifetime.supervise({"unit": component()}, stop=stop, drain_seconds=7, extra=[beside()])
    )
    await asyncio.sleep(2.5)
    assert value("kjr_component_up", component="unit") == 1
    assert value("kjr_drain_limit_seconds") == 7
    assert value("kjr_event_loop_lag_seconds_count") == lags + 2
    stop.set()
    await asyncio.sleep(1)
    assert value("kjr_stopping_since_timestamp_seconds")
    assert not beside_ended.is_set(), "probes answer while the components drain"
    drained.set()
    assert await running == 0
    assert beside_ended.is_set()
    assert value("kjr_component_up", component="unit") is None


@pytest.mark.asyncio
async def test_what_runs_beside_the_components_and_fails_ends_the_process() -> None:
    stop = asyncio.Event()

    async def component() -> None:
        await stop.wait()

    async def beside() -> None:
        raise OSError("the port is taken")

    assert await lifetime.supervise({"unit": component()}, stop=stop, drain_seconds=1, extra=[beside()]) == 1


def _job(**changes: object) -> Job:
    fields: dict[str, object] = {
        "id": uuid.uuid4(),
        "name": "x",
        "queue": "unit-phases",
        "created_at": NOW,
        "due_at": NOW,
        "admitted_at": NOW + dt.timedelta(seconds=3),
        "started_at": NOW + dt.timedelta(seconds=5),
    }
    return Job(**{**fields, **changes})  # type: ignore[arg-type]


def _change(job: Job, to_state: State, reason: str = "") -> ports.Change:
    transition = Transition(job_id=job.id, version=2, attempt=1, to_state=to_state, at=NOW, reason=reason)
    return ports.Change(expected_version=1, job=job, transitions=(transition,))


def test_phases_and_ends_are_counted_by_queue() -> None:
    ended = _job(finished_at=NOW + dt.timedelta(seconds=15))
    job_metrics.count_changes([_change(_job(), State.RUNNING), _change(ended, State.FAILED, "OutOfMemory")])
    labels = {"queue": "unit-phases"}
    found = {
        phase: value("kjr_job_phase_seconds_sum", phase=phase, **labels) for phase in ("queue", "start", "run", "total")
    }
    assert found == {"queue": 3, "start": 2, "run": 10, "total": 15}
    assert value("kjr_jobs_finished_total", outcome="failed", cause="OutOfMemory", **labels) == 1
    never_ran = _job(started_at=None, finished_at=NOW, queue="unit-never")
    job_metrics.count_changes([_change(never_ran, State.CANCELLED)])
    assert value("kjr_job_phase_seconds_count", phase="run", queue="unit-never") is None
    assert value("kjr_jobs_finished_total", outcome="cancelled", cause="none", queue="unit-never") == 1


def test_when_facts_happened() -> None:
    times = [NOW + dt.timedelta(seconds=n) for n in range(5)]
    container = ContainerFacts(name="main", started_at=times[1], finished_at=times[3])
    pod = PodFacts(
        uid="p", created_at=times[0], conditions=(Condition(type="Ready", at=times[2]),), containers=(container,)
    )
    assert latest_at(pod) == times[3]
    assert latest_at(PodFacts(uid="p", created_at=times[0], gone=True)) is None, "nothing says when it went"
    assert latest_at(JobFacts(uid="j", created_at=times[0], started_at=times[4])) == times[4]
    assert latest_at(EventFacts(uid="e", first_at=times[0], last_at=times[2])) == times[2]


if __name__ == "__main__":
    PAGE.write_text(page())
