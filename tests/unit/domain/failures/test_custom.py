"""Custom rules come first, and an error names the wrong one with its field, limit and remedy."""

from __future__ import annotations

from typing import Any

import pytest

from kube_job_runner.domain import failures

FULL = {
    "name": "gateway-maintenance",
    "where": "container.waiting",
    "reason": "ErrImagePull",
    "pattern": r"maintenance until \d+:\d\d",
    "category": "registry_unavailable",
    "verdict": "retry_free",
    "grace_seconds": 3600,
    "explanation": "Serviced: {message}. Container {container} waits.",
}


def test_an_own_rule_comes_before_the_built_in_ones() -> None:
    table = failures.Table(failures.RULES, failures.parse_custom([FULL]))
    found = table.classify("container.waiting", "ErrImagePull", "not found: Maintenance until 14:00", container="a")
    assert found is not None
    assert (found.category, found.verdict, found.reason) == (
        "registry_unavailable",
        "retry_free",
        "RegistryUnavailable",
    )
    assert found.rule.name == "gateway-maintenance"
    assert found.explanation == "Serviced: not found: Maintenance until 14:00. Container a waits."
    assert failures.grace_seconds(found.rule) == 3600.0
    other = table.classify("container.waiting", "ImagePullBackOff", "not found: Maintenance until 14:00")
    assert other is not None
    assert other.category == "image_not_found"


def test_the_least_rule_holds_everywhere_and_has_defaults() -> None:
    rules = failures.parse_custom([{"pattern": "licen[cs]e", "verdict": "fail_after_grace"}])
    assert {rule.where for rule in rules} == set(failures.WHERES)
    table = failures.Table((), rules)
    for where in failures.WHERES:
        found = table.classify(where, "Anything", "No LICENSE left.")
        assert found is not None
        assert (found.rule.name, found.reason, found.explanation) == ("extra-0", "Custom", "No LICENSE left.")
        assert failures.grace_seconds(found.rule) == failures.GRACES_SECONDS["config"]


def test_an_own_rule_sees_names_and_the_event_as_it_is() -> None:
    rules = failures.parse_custom(
        [{"pattern": "old-registry[.]example[.]com/", "verdict": "fail_now", "where": "event"}]
    )
    table = failures.Table(failures.RULES, rules)
    found = table.classify("event", "Failed", 'Failed to pull image "old-registry.example.com/a:1": not found')
    assert found is not None
    assert found.verdict == "fail_now"


@pytest.mark.parametrize("data", [None, [], {"rules": []}])
def test_no_rules_are_fine(data: object) -> None:
    assert failures.parse_custom(data) == ()


def test_the_list_may_be_under_a_key() -> None:
    assert failures.parse_custom({"rules": [FULL]}) == failures.parse_custom([FULL])


def test_only_the_beginning_of_a_message_is_matched() -> None:
    table = failures.Table((), failures.parse_custom([{"pattern": "needle", "verdict": "wait"}]))
    assert table.classify("event", "x", "h" * 8186 + "needle") is not None
    assert table.classify("event", "x", "h" * 8187 + "needle") is None


def wrong(**changes: Any) -> list[dict[Any, Any]]:
    """Return two rules, of which the second is wrong in some fields."""
    second = {**FULL, "name": "second", **changes}
    return [FULL, {key: value for key, value in second.items() if value is not ...}]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("text", "must be a list of mappings, not str"),
        (7, "must be a list of mappings, not int"),
        ([FULL] * 201, "there are 201 failure rules; 200 is the limit"),
        ([FULL, "x"], "failure rule 1: must be a mapping"),
        (wrong(name="gateway-maintenance"), "failure rule 1: name: .* is also the name of rule 0"),
        (wrong(name="Not A Slug"), "failure rule 1: name: .*lower-case"),
        (wrong(regex="x"), "failure rule 1: regex: no such field; there are name, where"),
        (wrong(where="pod"), "failure rule 1: where: 'pod' is not a place; it must be one of container.waiting"),
        (wrong(reason="two words"), "failure rule 1: reason: .*ErrImagePull"),
        (wrong(category="Image-Bad"), "failure rule 1: category: .*joined by `_`"),
        (wrong(verdict=...), "failure rule 1: verdict: is missing; it must be one of fail_now"),
        (wrong(verdict="fail"), "failure rule 1: verdict: 'fail' is not one; it must be one of fail_now"),
        (wrong(pattern=...), "failure rule 1: pattern: must be a regular expression"),
        (wrong(pattern=5), "failure rule 1: pattern: must be a regular expression"),
        (wrong(pattern="x" * 501), "failure rule 1: pattern: has 501 characters; 500 is the limit: split the rule"),
        (wrong(pattern="(open"), "failure rule 1: pattern: .* is not a regular expression: missing"),
        (wrong(pattern="(a+)+b"), "failure rule 1: pattern: repeats a group with a repeat"),
        (wrong(pattern="(a|a)*b"), "failure rule 1: pattern: repeats a group with a repeat or a choice"),
        (wrong(pattern="((a{1,9})b){2,}"), "failure rule 1: pattern: repeats a group with a repeat or a choice"),
        (wrong(pattern="a.*b.*c.*d"), "failure rule 1: pattern: has 3 endless repeats .* 2 is the limit"),
        (wrong(explanation="{0}"), "failure rule 1: explanation: may name {container}"),
        (wrong(explanation="{secret}"), "failure rule 1: explanation: may name {container}"),
        (wrong(explanation="{message.__class__}"), "failure rule 1: explanation: may name {container}"),
        (wrong(explanation="{message:9999999}"), "failure rule 1: explanation: may name {container}"),
        (wrong(explanation="{message"), "failure rule 1: explanation: may name {container}"),
        (wrong(explanation=""), "failure rule 1: explanation: must be a text of 1 to 1000 characters"),
        (wrong(grace_seconds=-1), "failure rule 1: grace_seconds: -1 is not a number of seconds from 0 to 86400"),
        (wrong(grace_seconds=True), "failure rule 1: grace_seconds: True is not a number"),
        (wrong(grace_seconds=float("nan")), "failure rule 1: grace_seconds: nan is not a number"),
        (wrong(verdict="fail_now"), "failure rule 1: grace_seconds: has no meaning with the verdict fail_now"),
    ],
)
def test_a_wrong_rule_is_named(data: object, said: str) -> None:
    with pytest.raises(failures.RulesError, match=said):
        failures.parse_custom(data)


@pytest.mark.parametrize(
    "pattern", [r"\(a+\)+", "[(a+)]+x", "(ab)+c", "(?:one|two) failed", "(a|b)?c", "((a)b)+", "a.*b.*c", r"a\.\*b"]
)
def test_patterns_that_only_look_dangerous_are_taken(pattern: str) -> None:
    assert failures.parse_custom([{"pattern": pattern, "verdict": "wait"}])
