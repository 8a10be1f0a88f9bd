"""The committed reference, made from the declarations. `python -m kube_job_runner.web.api.reference` writes it.

A test fails while a file of it differs from what this module makes.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import msgspec

from kube_job_runner.domain.limits import SpecLimits
from kube_job_runner.web.api import endpoints, job_spec_page, job_specs, problem_types
from kube_job_runner.web.api.api_document import ApiDocument
from kube_job_runner.web.api.endpoints import Parts
from kube_job_runner.web.kit.operations import Bound


def files() -> dict[str, bytes]:
    """Return the content of each file of the reference by its path in the repository."""
    nothing: dict[str, Any] = dict.fromkeys(field.name for field in dataclasses.fields(Parts))
    parts = Parts(**nothing | {"specs": job_specs.decoder(SpecLimits())})  # the handlers are described, never called
    document = ApiDocument()
    document.describe([Bound(one, body_max_bytes=0) for one in endpoints.operations(parts, document)])
    return {
        "docs/openapi.json": msgspec.json.format(document.content, indent=2) + b"\n",
        "docs/reference/job-spec.md": job_spec_page.page().encode(),
        "docs/reference/problems.md": problem_types.reference_page().encode(),
    }


def main() -> None:
    """Write the reference below the current directory."""
    for path, content in files().items():
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_bytes(content)


if __name__ == "__main__":
    main()
