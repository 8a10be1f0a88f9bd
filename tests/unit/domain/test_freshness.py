"""The times in which nobody watched: what watchers report, how reports are joined, and what clocks read from them."""

from __future__ import annotations

import datetime as dt

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kube_job_runner.domain.freshness import (
    HORIZON_SECONDS,
    INTERVALS_KEPT,
    SETTLE_SECONDS,
    SILENT_SECONDS,
    UNREPORTED_SECONDS,
    Freshness,
    Watched,
    WatchReport,
    WatchTimes,
    joined,
)
from tests.support.domain import after

ALIVE = after(100_000_000)


def reported(times: WatchTimes, known: Watched | None, at: float, *, sent: float | None = None) -> Watched:
    """Return what the store knows after the report of a watcher whose clock says the same as the database's."""
    report = times.report("ns", now=at, known=sent)
    assert report is not None
    return alive(joined(known, report, kind="pod", now=after(at)))


def alive(watch: Watched) -> Watched:
    """Return it without the time of its report."""
    return msgspec.structs.replace(watch, reported_at=ALIVE)


def watch(known_until: float, *dark: tuple[float, float], broken: bool = False, kind: str = "pod") -> Watched:
    intervals = tuple((after(begin), after(end)) for begin, end in dark)
    return Watched(
        kind=kind, namespace="ns", known_until=after(known_until), reported_at=ALIVE, dark=intervals, broken=broken
    )


def dark(*watches: Watched, since: float, now: float) -> float:
    return Freshness({(each.kind, "ns"): each for each in watches}).dark_seconds("ns", after(since), after(now))


class TestReports:
    def test_a_watch_that_was_never_current_has_nothing_to_report(self) -> None:
        assert WatchTimes().report("ns", now=5) is None

    def test_a_watch_that_is_heard_has_no_dark_time(self) -> None:
        times, known = WatchTimes(), None
        for at in range(0, 600, 60):
            times.current(at)
            known = reported(times, known, at + 1)
        assert known == watch(540)

    def test_what_lies_before_the_end_of_an_interruption_is_dark(self) -> None:
        times = WatchTimes()
        times.current(10)
        times.interrupted()
        broken = reported(times, None, 12)
        assert (broken.known_until, broken.broken, broken.dark) == (after(10), True, ())
        times.current(50)
        assert reported(times, broken, 51) == watch(50, (10, 50))

    def test_what_was_read_and_not_sent_is_not_known(self) -> None:
        times = WatchTimes()
        times.current(10)
        times.current(50)
        assert reported(times, None, 51, sent=20).known_until == after(20)

    def test_the_time_between_two_watchers_is_dark(self) -> None:
        first, second = WatchTimes(), WatchTimes()
        first.current(0)
        first.current(40)
        second.current(100)
        second.current(110)
        assert reported(second, reported(first, None, 41), 111) == watch(110, (40, 100))

    def test_a_second_watcher_at_the_same_time_has_watched_what_the_first_did_not(self) -> None:
        first, second = WatchTimes(), WatchTimes()
        for times in (first, second):
            times.current(0)
        known = reported(second, reported(first, None, 1), 2)
        first.interrupted()
        second.current(90)
        known = reported(second, known, 91)
        first.current(95)
        assert reported(first, known, 96) == watch(95, (90, 95)), "only what neither has watched"

    def test_a_report_that_comes_twice_or_late_changes_nothing(self) -> None:
        times = WatchTimes()
        times.current(10)
        times.interrupted()
        times.current(50)
        early, late = times.report("ns", now=51), None
        assert early is not None
        known = alive(joined(watch(0), early, kind="pod", now=after(51)))
        times.current(60)
        late = reported(times, known, 61)
        assert alive(joined(late, early, kind="pod", now=after(51))) == late
        assert reported(times, late, 61) == late

    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.tuples(st.floats(0.1, 900), st.floats(0.1, 900)), min_size=1, max_size=200))
    def test_a_flapping_watch_keeps_few_intervals_and_loses_no_dark_second(
        self, flaps: list[tuple[float, float]]
    ) -> None:
        times, known, now, gone = WatchTimes(), None, 0.0, 0.0
        times.current(now)
        for light, away in flaps:
            now += light
            times.current(now)
            times.interrupted()
            known = reported(times, known, now)
            now += away
            gone += away
            times.current(now)
            known = reported(times, known, now)
        assert known is not None
        assert len(known.dark) <= INTERVALS_KEPT
        kept = sum((end - begin).total_seconds() for begin, end in known.dark)
        if now < HORIZON_SECONDS:
            assert gone - 0.01 <= kept <= now


class TestClocks:
    def test_without_a_watch_nothing_is_dark(self) -> None:
        assert Freshness().dark_seconds("ns", after(0), after(900)) == 0
        assert not Freshness().is_dark("ns", after(0))

    def test_the_dark_seconds_since_a_time_are_counted_with_the_time_of_the_nodes_to_tell(self) -> None:
        seen = watch(500, (100, 200))
        assert dark(seen, since=0, now=510) == 100 + SETTLE_SECONDS
        assert dark(seen, since=150, now=510) == 50 + SETTLE_SECONDS
        assert dark(seen, since=300, now=510) == 0
        assert dark(seen, since=0, now=150) == 50

    def test_a_short_break_needs_no_time_to_settle(self) -> None:
        assert dark(watch(500, (100, 104)), since=0, now=510) == 4

    def test_two_kinds_are_dark_together_once(self) -> None:
        jobs, pods = watch(500, (100, 103), kind="job"), watch(500, (101, 104), kind="pod")
        assert dark(jobs, pods, since=0, now=510) == 4

    def test_a_broken_watch_is_dark_at_once_and_a_silent_one_after_a_while(self) -> None:
        assert dark(watch(100, broken=True), since=0, now=110) == 10
        assert dark(watch(100), since=0, now=100 + SILENT_SECONDS) == 0
        assert dark(watch(100), since=0, now=101 + SILENT_SECONDS) == 1 + SILENT_SECONDS

    def test_a_watcher_that_does_not_report_is_gone_and_one_that_says_that_nothing_is_new_is_not(self) -> None:
        times = WatchTimes()
        times.current(0)
        first = times.report("ns", now=1)
        assert first is not None
        known = joined(None, first, kind="pod", now=after(1))
        assert dark(known, since=0, now=1 + UNREPORTED_SECONDS) == 0
        assert dark(known, since=0, now=2 + UNREPORTED_SECONDS) == 2 + UNREPORTED_SECONDS
        again = times.report("ns", now=10)
        assert again is not None
        assert dark(joined(known, again, kind="pod", now=after(10)), since=0, now=2 + UNREPORTED_SECONDS) == 0

    @pytest.mark.parametrize(("now", "expected"), [(150, True), (199, True), (214, True), (216, False)])
    def test_it_is_dark_until_the_nodes_had_time_to_tell(self, now: float, expected: bool) -> None:
        row = Freshness({("pod", "ns"): watch(now, (100, min(now, 200)))})
        assert row.is_dark("ns", after(now)) is expected

    def test_one_watch_of_all_namespaces_counts_for_each(self) -> None:
        everywhere = Freshness({("pod", "*"): watch(500, (100, 103))})
        assert everywhere.dark_seconds("any", after(0), after(510)) == 3

    @pytest.mark.parametrize(("old", "new"), [("*", "ns"), ("ns", "*")])
    def test_a_change_of_the_watched_namespaces_leaves_no_dark_time_behind(self, old: str, new: str) -> None:
        rows = Freshness({("pod", old): watch(100, broken=True), ("pod", new): watch(500)})
        assert rows.dark_seconds("ns", after(0), after(510)) == 0
        assert not rows.is_dark("ns", after(510))

    def test_no_clock_is_extended_by_more_than_the_horizon(self) -> None:
        assert dark(watch(0, broken=True), since=0, now=10 * HORIZON_SECONDS) == HORIZON_SECONDS

    def test_old_intervals_are_forgotten(self) -> None:
        times = WatchTimes()
        times.current(0)
        report = times.report("ns", now=0)
        assert isinstance(report, WatchReport)
        later = dt.timedelta(seconds=2 * HORIZON_SECONDS)
        times.current(later.total_seconds())
        assert reported(times, watch(200, (10, 20)), later.total_seconds()).dark == ()
