"""Write docs/openapi.json and the pages of the API from the declarations of the code: `python -m docs.api_pages`.

A test fails while a committed file differs.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import msgspec

from docs import job_spec_page
from kube_job_runner.domain.limits import SpecLimits
from kube_job_runner.web.api import endpoints, submit_job
from kube_job_runner.web.api.api_document import ApiDocument
from kube_job_runner.web.api.endpoints import Parts
from kube_job_runner.web.api.problem_types import ALL_PROBLEMS
from kube_job_runner.web.kit.operations import Bound


def files() -> dict[str, bytes]:
    """Return the content of each file of the reference by its path in the repository."""
    nothing: dict[str, Any] = dict.fromkeys(field.name for field in dataclasses.fields(Parts))
    parts = Parts(
        **nothing | {"specs": submit_job.spec_decoder(SpecLimits())}
    )  # the handlers are described, never called
    document = ApiDocument()
    document.describe([Bound(one, body_max_bytes=0) for one in endpoints.operations(parts, document)])
    return {
        "docs/openapi.json": msgspec.json.format(document.content, indent=2) + b"\n",
        "docs/reference/job-spec.md": job_spec_page.page().encode(),
        "docs/reference/problems.md": problems_page().encode(),
    }


def problems_page() -> str:
    """Return the reference page of all problems, in Markdown."""
    lines = [
        "# Problems",
        "",
        "Every error answer is `application/problem+json` (RFC 9457): `type`, `title`, `status`, `detail`, `instance`, `code`,",
        "`request_id`, `retryable` and `errors`. `code` is stable; the texts are for people. `retryable` says whether the same",
        "request may succeed later, unchanged. `errors` holds the faults of the request, each with a JSON `pointer` and a",
        "`detail`. `in` says what the pointer leads into when that is not the body: `query`, `header`, or `spec` for the spec",
        "of a rerun. The server serves each page below under its `type`.",
        "",
        "| code | status | retryable | title |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| [`{kind.code}`](#{kind.code}) | {kind.status} | {'yes' if kind.retryable else 'no'} | {kind.title} |"
        for kind in ALL_PROBLEMS
    ]
    for kind in ALL_PROBLEMS:
        lines += ["", f"## {kind.code}", "", f"{kind.status}: {kind.title}.", "", kind.meaning, "", kind.remedy]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write the reference below the current directory."""
    for path, content in files().items():
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_bytes(content)


if __name__ == "__main__":
    main()
