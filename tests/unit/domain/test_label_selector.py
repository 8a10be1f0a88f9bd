"""Label selectors in Kubernetes' grammar."""

from __future__ import annotations

import contextlib
import sys
from types import FrameType
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


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        (",".join(f"k{n}" for n in range(33)), "32 terms"),
        ("a in (" + ",".join(f"{n}" for n in range(1001)) + ")", "1000 values"),
        (
            "a,b in ("
            + ",".join(f"{n}" for n in range(500))
            + "),c notin ("
            + ",".join(f"{n}" for n in range(501))
            + ")",
            "1000",
        ),
        ("a" * 4097, "4096"),
    ],
)
def test_a_selector_has_limits_that_the_error_names(text: str, limit: str) -> None:
    with pytest.raises(label_selector.SelectorError, match=limit):
        label_selector.parse(text)


def test_values_that_are_repeated_count_once() -> None:
    assert label_selector.parse("a in (b, b,b)") == (("a", "in", ("b",)),)


HOSTILE = (
    " ",
    "a",
    "a ",
    "a,",
    "!",
    "!a,",
    "a=",
    "a= ",
    "a in (",
    "a in (b,",
    "(",
    ")",
    "()",
    "in ",
    "a-",
    "a.",
    "a/",
    "=",
    "==",
    "\t\n",
)


@pytest.mark.parametrize("part", HOSTILE)
@pytest.mark.parametrize("end", ["", "!", ")", "a", " in", "ä"])
def test_the_work_grows_with_the_length_and_not_with_its_square(part: str, end: str) -> None:
    """The work is counted in lines of Python, so that a busy machine does not matter."""
    short, long = (_lines_run((part * 4000)[: size - len(end)] + end) for size in (500, 4000))
    assert long <= 9 * short + 1000
    assert long <= 30 * 4000


def _lines_run(text: str) -> int:
    lines = 0

    def count(_frame: FrameType, event: str, _argument: Any) -> Any:
        nonlocal lines
        lines += event == "line"
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        with contextlib.suppress(label_selector.SelectorError):
            label_selector.parse(text)
    finally:
        sys.settrace(before)
    return lines


@given(st.from_regex(label_selector.PATTERN))
def test_every_selector_that_the_document_describes_is_read(text: str) -> None:
    assert bool(label_selector.parse(text)) is bool(text.strip())
