"""The check of the documentation finds what it is for."""

from __future__ import annotations

from pathlib import Path

from docs import check

ROOT = Path(__file__).parents[3]


def test_every_guarantee_names_tests_that_exist() -> None:
    page = ROOT / "docs" / "guarantees.md"
    assert len(check.PROMISE.findall(page.read_text())) >= 11
    assert check.faults_of_tests(page) == []


def test_a_promise_without_a_test_and_a_test_that_is_gone_are_found(tmp_path: Path) -> None:
    (tmp_path / "test_here.py").write_text("def test_is_here() -> None: ...\n")
    page = tmp_path / "page.md"
    page.write_text(
        "| I1 | Kept. | [`test_is_here`](test_here.py) |\n"
        "| I2 | Renamed. | [`test_was_here`](test_here.py) |\n"
        "| I3 | Moved. | [`test_is_here`](elsewhere.py) |\n"
        "| I4 | Not tested. | |\n"
    )
    found = check.faults_of_tests(page)
    assert [fault.partition(": ")[2] for fault in found] == [
        "test_here.py has no test test_was_here",
        "elsewhere.py has no test test_is_here",
        "promise I4 names no test",
    ]


def test_a_link_that_leads_nowhere_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# One\n[a](page.md#one) [b](page.md#two) [c](none.md)\n")
    assert [fault.partition(": ")[2] for fault in check.faults(page)] == [
        "page.md#two has no such heading",
        "none.md leads nowhere",
    ]
