"""Label selectors in Kubernetes' grammar."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kube_job_runner.domain import label_selector


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("", ()),
        ("  ", ()),
        ("team=a", (("team", "in", ("a",)),)),
        ("team==a", (("team", "in", ("a",)),)),
        ("team = a , tier!=db", (("team", "in", ("a",)), ("tier", "notin", ("db",)))),
        ("team=", (("team", "in", ("",)),)),
        ("example.com/team in (a, b)", (("example.com/team", "in", ("a", "b")),)),
        ("team notin (a)", (("team", "notin", ("a",)),)),
        ("team", (("team", "exists", ()),)),
        ("!team", (("team", "!exists", ()),)),
        ("! team,in", (("team", "!exists", ()), ("in", "exists", ()))),
        ("in in (in)", (("in", "in", ("in",)),)),
    ],
)
def test_selector(text: str, terms: tuple[Any, ...]) -> None:
    assert label_selector.parse(text) == terms


@pytest.mark.parametrize(
    "text", [",", "a,", "a=b=c", "a in", "a in ()x", "a in (b", "a in b)", "(a)", "a=-b", "!a=b", "a/b/c=d", "ä=b"]
)
def test_bad_selector(text: str) -> None:
    with pytest.raises(label_selector.SelectorError):
        label_selector.parse(text)


@given(st.from_regex(label_selector.PATTERN))
def test_every_selector_that_the_document_describes_is_read(text: str) -> None:
    assert bool(label_selector.parse(text)) is bool(text.strip())
