"""Ids and names."""

from __future__ import annotations

import datetime as dt
import re
import uuid

import pytest

from kube_job_runner.domain import names

T0 = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def test_ids_are_version_7_and_sort_by_time() -> None:
    made = [names.new_job_id(T0 + dt.timedelta(milliseconds=step)) for step in range(100)]
    assert made == sorted(made)
    assert {job_id.version for job_id in made} == {7}
    assert {job_id.variant for job_id in made} == {"specified in RFC 4122"}
    assert len({names.new_job_id(T0) for _ in range(1000)}) == 1000


@pytest.mark.parametrize("name", ["etl", "a" * 63, "Ünï code!", "---", "", "x.y_z", "9", "a-" * 40])
@pytest.mark.parametrize("attempt", [1, 20, 9999])
def test_a_cluster_job_name_is_a_dns_label_of_at_most_63_characters(name: str, attempt: int) -> None:
    made = names.cluster_job_name(name, names.new_job_id(T0), attempt)
    assert len(made) <= 63
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", made)


def test_names_that_are_cut_to_the_same_slug_stay_distinct() -> None:
    first, second = names.new_job_id(T0), names.new_job_id(T0)
    assert names.cluster_job_name("a" * 40, first, 1) != names.cluster_job_name("a" * 40, second, 1)
    assert names.cluster_job_name("a", first, 1) != names.cluster_job_name("a", first, 2)


@pytest.mark.parametrize("attempt", [0, -1, 10_000])
def test_an_attempt_out_of_range_is_refused(attempt: int) -> None:
    with pytest.raises(ValueError, match="outside"):
        names.cluster_job_name("a", names.new_job_id(T0), attempt)


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("busybox", "busybox"),
        ("registry.example.com:5000/team/App_1:v2@sha256:" + "0" * 64, "app-1"),
        ("a/b/c:1", "c"),
    ],
)
def test_a_job_without_a_name_is_called_after_its_image(image: str, name: str) -> None:
    assert names.default_job_name(image) == name


@pytest.mark.parametrize("name", ["etl", "a" * 63, "x-y", "9", "a-" * 40])
@pytest.mark.parametrize("attempt", [1, 20, 9999])
def test_a_name_tells_its_job_and_attempt(name: str, attempt: int) -> None:
    job_id = names.new_job_id(T0)
    made = names.cluster_job_name(name, job_id, attempt)
    assert names.attempt_of_job(made) == (job_id, attempt)
    pod_name = f"{made}-"[:58] + "x7k2p"  # as the API server makes it
    assert names.attempt_of_pod(pod_name) == (job_id, attempt)
    assert names.attempt_of_job(pod_name) is None
    assert names.attempt_of_pod(made) is None


GOOD = names.cluster_job_name("etl", uuid.UUID("0190b5b0-0000-7000-8000-000000000001"), 1)
NOT_VERSION_7 = names.base32_id(uuid.UUID("0190b5b0-0000-4000-8000-000000000001"))


@pytest.mark.parametrize(
    "name",
    [
        "",
        "etl",
        GOOD.upper(),
        GOOD + "\n",
        " " + GOOD,
        GOOD[:-2],
        GOOD[:-1] + "0",
        GOOD[:-1] + "01",
        GOOD[:-1] + "10000",
        GOOD[:-1] + "\u0661",
        GOOD.removeprefix("etl-"),
        GOOD.removeprefix("etl"),
        "-" + GOOD,
        "e_" + GOOD,
        GOOD[:-3] + "z-1",  # bits that no id has
        f"etl-{NOT_VERSION_7}-1",
    ],
)
def test_a_name_that_is_not_ours_tells_nothing(name: str) -> None:
    assert names.attempt_of_job(name) is None
    assert names.attempt_of_pod(name) is None
    assert names.attempt_of_pod(f"{name}-abcde") is None
