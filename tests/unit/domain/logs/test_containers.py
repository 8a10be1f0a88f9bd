"""Which containers of an attempt have a log, by what is known of its pod."""

from __future__ import annotations

from datetime import UTC, datetime

from kube_job_runner.domain.facts import ContainerFacts, PodFacts
from kube_job_runner.domain.logs import containers

NOW = datetime(2026, 1, 15, tzinfo=UTC)
POD = PodFacts(
    uid="pod",
    containers=(
        ContainerFacts(name="setup", init=True, state="terminated", started_at=NOW, exit_code=0),
        ContainerFacts(name="main", state="running", started_at=NOW),
        ContainerFacts(name="side", state="waiting", restarts=2),
        ContainerFacts(name="never", state="waiting"),
    ),
)


def test_before_the_end_every_container_may_get_a_log_and_after_it_those_that_ran_have_one() -> None:
    assert containers.to_read(POD, ended=False) == ["setup", "main", "side", "never"]
    assert containers.to_read(POD, ended=True) == ["setup", "main", "side"]


def test_of_an_unknown_pod_the_main_container_is_read() -> None:
    unseen = PodFacts(uid="pod", containers=(ContainerFacts(name="main", state="waiting"),))
    assert [containers.to_read(pod, ended=True) for pod in (None, PodFacts(uid="pod"), unseen)] == [["main"]] * 3
    assert containers.has_run(None, "main")
    assert not containers.has_run(POD, "other")


def test_a_start_is_known_of_containers_that_were_not_restarted() -> None:
    assert [containers.started_at(POD, name) for name in ("main", "side", "other")] == [NOW, None, None]
    assert [containers.has_ended(POD, name) for name in ("setup", "main", "other")] == [True, False, False]
