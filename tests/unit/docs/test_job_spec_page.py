"""The page of the job spec: what it says of a type, and that its full example is a good spec."""

from __future__ import annotations

from typing import Annotated

import msgspec
import yaml
from msgspec import Meta

from docs import job_spec_page
from kube_job_runner.domain.limits import SpecLimits
from kube_job_runner.domain.spec import check
from kube_job_runner.domain.spec.field_types import DnsLabel, about
from kube_job_runner.domain.spec.model import JobSpec


class Part(msgspec.Struct):
    """A part."""

    size: Annotated[int, about("How large.", 5, ge=1, le=5000)]
    name: Annotated[DnsLabel | None, about("Its name.", "n")] = None
    words: Annotated[tuple[Annotated[str, Meta(max_length=7)], ...], about("Words.", ["w"], max_length=3)] = ()


def test_limits_defaults_and_texts_come_from_the_type() -> None:
    page = job_spec_page.page(Part)
    assert "| `size` | integer | required | 1 to 5,000 | How large. | `5` |" in page
    assert "| `name` | string | none | 1 to 63 characters; lower-case letters" in page
    assert "| `words` | list of strings | none | at most 3 entries; each: at most 7 characters | Words." in page


def test_the_full_example_is_a_good_spec_with_every_field() -> None:
    example = yaml.safe_load(job_spec_page.page().split("```yaml\n")[1].split("```")[0])
    spec = msgspec.convert(example, JobSpec)
    assert check.check(spec, SpecLimits()) == []
    assert set(example) == {field.name for field in msgspec.structs.fields(JobSpec)}
