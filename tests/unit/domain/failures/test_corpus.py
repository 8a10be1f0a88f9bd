"""The failure rules on real messages: some that users of Kubernetes saw, others in the words of further sources.

Each record has an expected answer, and in `accept` other answers that a good operator could give. A miss must be listed here
with its reason, and a listed record that is answered right must be removed. So no rule and no label changes unnoticed.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kube_job_runner.domain import failures
from kube_job_runner.domain.failures import categories

FIXTURES = Path(__file__).parents[3] / "fixtures"
SEEN = FIXTURES / "failure-messages.jsonl"
MORE = FIXTURES / "failure-messages-more.jsonl"

MISSES: dict[str, str] = {}
"""The records with another answer than expected, by id, and why that answer is right or cannot be improved."""

Answer = tuple[str, str]


def records(path: Path) -> list[dict[str, Any]]:
    """Return the records of a file of JSON lines."""
    return [msgspec.json.decode(line) for line in path.read_bytes().splitlines() if line.strip()]


def answer(record: dict[str, Any]) -> Answer:
    """Return category and verdict for a record; what no rule knows waits."""
    found = failures.classify(
        record["where"], record["reason"] or "", record["message"] or "", exit_code=record["exit_code"]
    )
    return (found.category, found.verdict) if found else ("unknown", "wait")


def right_answers(record: dict[str, Any]) -> list[Answer]:
    """Return the answers that count as right: the expected one first."""
    expected = record["expected"]
    return [(right["category"], right["verdict"]) for right in (expected, *expected.get("accept", ()))]


def scores(rows: Iterable[dict[str, Any]]) -> tuple[float, float]:
    """Return the shares of right verdicts and of right categories."""
    rows = list(rows)
    verdicts = sum(answer(row)[1] in {right[1] for right in right_answers(row)} for row in rows)
    names = sum(answer(row)[0] in {right[0] for right in right_answers(row)} for row in rows)
    return verdicts / len(rows), names / len(rows)


@pytest.mark.parametrize(("path", "at_least"), [(SEEN, 154), (MORE, 790)], ids=["seen", "more"])
def test_verdicts_and_categories_are_right(path: Path, at_least: int) -> None:
    rows = records(path)
    assert len(rows) >= at_least
    verdicts, names = scores(rows)
    assert verdicts >= 0.95
    assert names >= 0.90


def test_each_miss_is_listed_with_its_reason() -> None:
    rows = [*records(SEEN), *records(MORE)]
    misses = {row["id"]: (answer(row), right_answers(row)[0]) for row in rows if answer(row) not in right_answers(row)}
    assert {name: pair for name, pair in misses.items() if name not in MISSES} == {}
    assert set(MISSES) - set(misses) == set()
    assert all(MISSES.values())


def test_the_ids_are_unique() -> None:
    ids = [row["id"] for row in (*records(SEEN), *records(MORE))]
    assert len(ids) == len(set(ids))


def test_every_expected_category_is_known() -> None:
    for row in (*records(SEEN), *records(MORE)):
        for category, verdict in right_answers(row):
            assert category in categories.BY_NAME
            assert verdict in failures.VERDICTS


@pytest.mark.parametrize("path", [SEEN, MORE], ids=["seen", "more"])
def test_explanations_are_sentences_without_gaps(path: Path) -> None:
    for row in records(path):
        found = failures.classify(
            row["where"],
            row["reason"] or "",
            row["message"] or "",
            exit_code=row["exit_code"],
            container="work",
            node="n1",
        )
        if found is not None:
            assert found.explanation[0].isupper(), found.explanation
            assert found.explanation.endswith("."), found.explanation
            assert "(none)" not in found.explanation
            assert "\n" not in found.explanation


@pytest.mark.parametrize(
    "piece",
    ["exceeded quota limited: ", "failing to call webhook ", "preemption: 0/1 nodes ", "exec: ", "volume x ", "a" * 50],
)
def test_no_pattern_needs_long_for_a_text_that_almost_fits(piece: str) -> None:
    """A pattern that backtracks without bound would pass the time limit of a test by far."""
    message = (piece * 4096)[:4096]
    for pattern in {rule.pattern for rule in failures.RULES if rule.pattern is not None}:
        pattern.search(message)
