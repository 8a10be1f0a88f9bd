"""Words of Kubernetes and exit codes lead to categories."""

from __future__ import annotations

import pytest

from kube_job_runner.domain.failures import words
from kube_job_runner.domain.failures.categories import BY_NAME
from kube_job_runner.domain.failures.table import RULES


def test_each_word_of_a_rule_leads_to_its_category() -> None:
    for rule in RULES:
        for word in rule.reasons if rule.category != "unknown" else ():
            found = words.meaning(word)
            assert found is not None
            assert rule.category in found.categories or word == "BackoffLimitExceeded"


@pytest.mark.parametrize("code", range(256))
def test_each_exit_code_has_a_meaning(code: int) -> None:
    found = words.meaning(str(code))
    assert found is not None
    assert found.sentence
    assert all(name in BY_NAME for name in found.categories)


@pytest.mark.parametrize("word", ["", "256", "-1", "nonsense", "١٣٧", "0137x"])
def test_other_words_have_none(word: str) -> None:
    assert words.meaning(word) is None
