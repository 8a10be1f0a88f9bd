"""Every reason that a record can show has a page, and the pages under docs/failures are those of the tables."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from docs import failure_pages
from kube_job_runner import settings
from kube_job_runner.domain import failures
from kube_job_runner.domain.failures import categories, ends, refusals
from kube_job_runner.domain.failures.categories import Category, manual

SOURCE = Path(failures.__file__).parents[2]
_GIVEN = re.compile(
    r'\breason ?= ?"([A-Z][A-Za-z]+)"|return (?:[\d.]+, )?"([A-Z][A-Za-z]+)"|^_\w+ = "([A-Z][A-Za-z]+)"', re.MULTILINE
)
# What plays Kubernetes speaks in Kubernetes' own reasons; what it says is judged by the table.
PLAYERS = ("adapters/local/", "adapters/simulated/", "domain/failures/")


def codes_in_the_code() -> dict[str, str]:
    """Return every reason code that the product gives: by a row of its tables, or in its code, with the place."""
    found = {end.reason: "ends" for end in ends.ENDS} | {one.reason: "refusals" for one in refusals.REFUSALS}
    for path in SOURCE.rglob("*.py"):
        name = path.relative_to(SOURCE).as_posix()
        if name.startswith(("domain/", "services/", "adapters/kubernetes/")) and not name.startswith(PLAYERS):
            for groups in _GIVEN.findall(path.read_text()):
                found[next(filter(None, groups))] = name
    return found


def test_the_search_for_codes_finds_them() -> None:
    found = codes_in_the_code()
    assert {"RunTimeout", "Cancelled", "JobDeleted", "QuotaExceeded", "SpecRejected", "EvidencePending"} <= set(found)
    assert found["EvidencePending"].endswith(".py")


def test_every_code_in_the_code_has_a_page() -> None:
    known = {category.code for category in categories.CATEGORIES}
    assert {code: name for code, name in codes_in_the_code().items() if code not in known} == {}


def test_every_category_of_a_rule_has_a_page() -> None:
    assert {rule.category for rule in failures.RULES} - set(categories.BY_NAME) == set()


def test_the_usual_verdict_is_one_of_the_rules_own() -> None:
    for category in categories.CATEGORIES:
        verdicts = {rule.verdict for rule in failures.RULES if rule.category == category.name}
        if verdicts and category.name != "unknown":
            assert category.verdict in verdicts, category.name


def test_the_pages_are_up_to_date() -> None:
    """Write them with `python docs/failure_pages.py`."""
    written = {path.name: path.read_text() for path in failure_pages.FOLDER.glob("*.md")}
    assert written == failure_pages.pages()


@pytest.mark.parametrize("category", categories.CATEGORIES, ids=[category.name for category in categories.CATEGORIES])
def test_a_page_says_all_that_it_must(category: Category) -> None:
    found = manual.page(category)
    assert category.title[0].isupper()
    assert not category.title.endswith(".")
    assert category.happened.endswith(".")
    assert category.remedy
    assert found.whose
    assert found.handling
    known = {setting.variable for setting in settings.SETTINGS.values()}
    assert set(category.settings) <= known


@pytest.mark.parametrize(
    "text", ["ImageNotFound", "image_not_found", "image-not-found", "IMAGENOTFOUND", " imagenotfound "]
)
def test_a_category_is_found_however_it_is_written(text: str) -> None:
    found = categories.find(text)
    assert found is not None
    assert (found.name, found.code) == ("image_not_found", "ImageNotFound")


def test_what_is_no_category_is_not_found() -> None:
    assert categories.find("nope") is None
    assert categories.find("") is None


def test_the_codes_are_unique() -> None:
    assert len({category.code.lower() for category in categories.CATEGORIES}) == len(categories.CATEGORIES)
