"""Image references: which are accepted and which are refused."""

from __future__ import annotations

import pytest

from kube_job_runner.domain.spec import image


@pytest.mark.parametrize(
    "reference",
    [
        "busybox",
        "busybox:1",
        "library/busybox",
        "registry.example.com/a/b:tag",
        "localhost:5000/a",
        "[::1]:5000/a:1",
        "a@sha256:" + "0" * 64,
        "r.io/a:1@sha256:" + "f" * 64,
        "a/b__c/d-e.f",
        "EXAMPLE.com/a",
        "a--b",
    ],
)
def test_image_references_of_the_distribution_grammar_are_accepted(reference: str) -> None:
    assert image.fault(reference) is None


@pytest.mark.parametrize(
    "reference",
    [
        "",
        " busybox",
        "busy box",
        "https://r.io/a",
        "UPPER/x",
        "a/UPPER",
        "a:",
        "a@",
        "a:b:c/d:e:f",
        "-a",
        "a-",
        "a/",
        "/a",
        "a//b",
        "a:-tag",
        "a:" + "t" * 129,
        "a@sha256:abc",
        "0" * 64,
        "r.io/" + "a" * 256,
        "a\n",
        "a\tb",
        "ü",
        "a?b",
    ],
)
def test_what_is_not_an_image_reference_is_refused(reference: str) -> None:
    assert image.fault(reference)
