"""Quantities as numbers."""

from __future__ import annotations

import pytest

from kube_job_runner.domain.spec import quantity


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1", 1),
        ("500m", 0.5),
        ("1.5Gi", 1.5 * 1024**3),
        ("2k", 2000),
        ("3Mi", 3 * 1024**2),
        ("1P", 10**15),
        ("1e3", 1000),
        ("1E3", 1000),
        ("1E", 10**18),
        ("1Ei", 1024**6),
        ("+2", 2),
        (".5", 0.5),
        ("5.", 5),
        ("25e-2", 0.25),
        ("500000u", 0.5),
    ],
)
def test_a_quantity_is_a_number(text: str, number: float) -> None:
    assert quantity.parse(text) == number


@pytest.mark.parametrize("text", ["", "x", "1x", "1 Gi", "-1", "1e", "1e+", ".", "1GiB", "1ki", "1K", "1e3Mi"])
def test_what_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a quantity"):
        quantity.parse(text)


@pytest.mark.parametrize(("size", "text"), [("1Gi", "1024Mi"), ("1000", "1Mi"), ("1.5Gi", "1536Mi"), ("1G", "954Mi")])
def test_sizes_are_rounded_up_to_mebibytes(size: str, text: str) -> None:
    assert quantity.mebibytes(quantity.parse(size)) == text


@pytest.mark.parametrize(
    ("size", "said"),
    [
        ("64Mi", ""),
        ("1Mi", ""),
        ("1073741824000m", ""),
        ("512m", "'512m' is 0.512 bytes; the least is 1Mi; did you mean 512Mi?"),
        ("512", "'512' is 512 bytes; the least is 1Mi; did you mean 512Mi?"),
        ("1", "'1' is 1 bytes; the least is 1Mi; did you mean 1Mi?"),
        ("1023Ki", "'1023Ki' is 1,047,552 bytes; the least is 1Mi; did you mean 1023Mi?"),
        ("1.5k", "'1.5k' is 1,500 bytes; the least is 1Mi; did you mean 64Mi?"),
        ("0", "'0' is 0 bytes; leave the field out for no limit"),
        ("0Gi", "'0Gi' is 0 bytes; leave the field out for no limit"),
        ("2Pi", "'2Pi' is 2,251,799,813,685,248 bytes; the most is 1Pi"),
    ],
)
def test_a_size_that_nobody_can_mean(size: str, said: str) -> None:
    assert quantity.size_fault(size) == said


@pytest.mark.parametrize(
    ("cpu", "said"),
    [
        ("500m", ""),
        ("1m", ""),
        ("0.5", ""),
        ("4k", ""),
        ("500Mi", "'500Mi' is 524,288,000 CPUs; the most is 4096; did you mean 500m?"),
        ("5000", "'5000' is 5,000 CPUs; the most is 4096; did you mean 5000m?"),
        ("0", "'0' is 0 CPUs; leave the field out to reserve none"),
        ("100u", "'100u' is 0.0001 CPUs; the least is 1m, a thousandth of a CPU"),
    ],
)
def test_an_amount_of_cpu_that_nobody_can_mean(cpu: str, said: str) -> None:
    assert quantity.cpu_fault(cpu) == said
