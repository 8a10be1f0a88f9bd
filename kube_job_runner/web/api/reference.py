"""The committed reference, made from the declarations: `python -m kube_job_runner.web.api.reference` writes it anew.

A test fails while `docs/openapi.json` or `docs/reference/problems.md` differ from what this module makes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import msgspec

from kube_job_runner.domain.limits import SpecLimits
from kube_job_runner.web.api import operations, problems, record_operations
from kube_job_runner.web.api.jobs import JobsApi
from kube_job_runner.web.api.policies import PoliciesApi
from kube_job_runner.web.api.records import RecordsApi
from kube_job_runner.web.api.reruns import RerunApi
from kube_job_runner.web.api.submits import SubmitApi
from kube_job_runner.web.api.system import SystemApi
from kube_job_runner.web.kit.operations import Bound


def files() -> dict[str, bytes]:
    """Return the content of each file of the reference by its path in the repository."""
    nobody = cast("Any", None)  # the handlers are described here, never called
    declared = [
        *operations.submit_operations(SubmitApi(nobody, nobody, SpecLimits())),
        *operations.job_operations(JobsApi(nobody, nobody, nobody, nobody, clock=nobody, wait_max_seconds=0)),
        *record_operations.record_operations(RecordsApi(nobody)),
        *record_operations.rerun_operations(RerunApi(nobody, nobody)),
        *record_operations.policy_operations(PoliciesApi(nobody)),
        *operations.system_operations(SystemApi(nobody)),
    ]
    document = operations.encode_document([Bound(operation, body_max_bytes=0) for operation in declared])
    return {
        "docs/openapi.json": msgspec.json.format(document, indent=2) + b"\n",
        "docs/reference/problems.md": problems.reference_page().encode(),
    }


def main() -> None:
    """Write the reference below the current directory."""
    for path, content in files().items():
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_bytes(content)


if __name__ == "__main__":
    main()
