"""Short fault drills: a server is frozen, killed or cut off while jobs are submitted and run; tokens and clocks are wrong.

`make drills` runs them at full length; docs/reliability.md has the figures. Components are killed in test_crash.py.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator

import msgspec
import pytest

from testbed import elasticmq
from testbed.pytest_plugin import unavailable
from tests.cluster.conftest import left_in_cluster
from tests.support import drills, faults
from tests.support.product import wait_until
from tests.support.proxy import Mode
from tests.support.stage import Stage

pytestmark = [pytest.mark.cluster, pytest.mark.drill, pytest.mark.timeout(240)]

PLAN = drills.Plan(
    fault_seconds=5,
    before_seconds=1.5,
    after_seconds=1,
    jobs_per_second=4,
    runs_seconds=(0, 1, 4),
    end_seconds=100,
)
TEN_MINUTES = 600.0
LONGER_THAN_EVIDENCE_IS_AWAITED = 40


@pytest.fixture(scope="module")
def stage(kube_programs: None) -> Iterator[Stage]:
    """The product on its own servers, with times that suit a short fault."""
    try:
        elasticmq.ensure_fetched()
    except elasticmq.ElasticMQUnavailable as error:
        unavailable(str(error))
    with Stage(cleanup_delay_seconds=2, lease_seconds=10, watch_idle_seconds=4) as made:
        yield made


def check(outcome: drills.Outcome, *, submitted: float = PLAN.jobs_per_second * PLAN.fault_seconds) -> None:
    print(outcome)  # noqa: T201
    assert outcome.violations == []
    assert (outcome.lost, outcome.doubled, outcome.failed, outcome.logs_lost) == (0, 0, 0, 0)
    assert outcome.submitted >= submitted


@pytest.mark.parametrize("how", faults.FAULTS)
@pytest.mark.parametrize("server", faults.SERVERS)
def test_a_server_is_away(stage: Stage, server: str, how: str) -> None:
    fault = functools.partial(faults.FAULTS[how], stage, server)
    outcome = drills.run(stage, f"{server} {how}", fault, PLAN)
    assert outcome.in_flight > 0
    if server == "postgres":
        check(outcome, submitted=1)  # a client may wait for most of it, on a connection that is dead
        # Nothing is acknowledged that is not stored, and a refused client gets a Retry-After.
        assert outcome.submits.keys() <= {"201", "503 with Retry-After"}, outcome.submits
        assert outcome.during < PLAN.jobs_per_second * PLAN.fault_seconds / 2
    else:
        check(outcome)
        assert outcome.submits.keys() == {"201"}, outcome.submits
        assert outcome.ready.keys() == {"200"}, outcome.ready


@pytest.mark.parametrize(
    ("watcher", "how", "fault_seconds"),
    [
        ("job-status-processor", "reset", 5),
        ("job-status-processor", "swallow", 5),
        ("pod-events-processor", "swallow", 5),
        ("pod-events-processor", "reset", LONGER_THAN_EVIDENCE_IS_AWAITED),
    ],
)
def test_one_watch_is_away(stage: Stage, watcher: str, how: Mode, fault_seconds: float) -> None:
    fault = functools.partial(faults.watch_away, stage, watcher, mode=how)
    plan = msgspec.structs.replace(PLAN, fault_seconds=fault_seconds)
    check(drills.run(stage, f"{watcher} {how}", fault, plan))


def test_each_write_of_the_api_server_takes_two_seconds(stage: Stage) -> None:
    check(drills.run(stage, "slow writes", functools.partial(faults.writes_slow, stage, seconds=2.0), PLAN))


def test_tokens_are_rotated_and_missing(stage: Stage) -> None:
    with stage.rotating_tokens(every_seconds=3, missing_seconds=1) as rotations:
        wait_until(lambda: rotations[0] > 0, what="the tokens have been replaced once")
        outcome = drills.run(stage, "tokens", contextlib.nullcontext, PLAN)
        check(outcome)
    assert rotations[0] >= 3


@pytest.mark.parametrize("component", ["web-server", "messages-processor", "sweeper", "pod-events-processor"])
def test_the_clock_of_one_process_is_ten_minutes_ahead(stage: Stage, component: str) -> None:
    fault = functools.partial(faults.clock_off, stage, component, ahead_seconds=TEN_MINUTES)
    check(drills.run(stage, f"clock of {component}", fault, PLAN))


def test_nothing_is_left_in_the_cluster(stage: Stage) -> None:
    wait_until(
        lambda: not left_in_cluster(stage.cluster, stage.namespace),
        what="nothing is left",
        timeout_seconds=60,
        pause_seconds=0.5,
    )
