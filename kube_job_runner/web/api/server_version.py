"""`GET /v1/version`: the version of the server."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

import kube_job_runner
from kube_job_runner.web.api.problem_types import DOWN
from kube_job_runner.web.kit.handling import Call, Nothing, Reply
from kube_job_runner.web.kit.operations import Operation

MINIMUM_CLIENT = "0.1.0"


class VersionView(msgspec.Struct, frozen=True, kw_only=True):
    """The version of the server."""

    version: Annotated[str, Meta(description="The version of the server.")]
    api_versions: Annotated[list[str], Meta(description="The versions of the API that it serves.")]
    minimum_client: Annotated[str, Meta(description="The oldest client that it works with.")]


def operation() -> Operation:
    """Return the endpoint."""

    async def get_version(_call: Call[Nothing, Nothing, Nothing]) -> Reply[VersionView]:
        """Return the versions of the server and of the API."""
        view = VersionView(version=kube_job_runner.__version__, api_versions=["v1"], minimum_client=MINIMUM_CLIENT)
        return Reply(view)

    return Operation(
        method="GET",
        path="/v1/version",
        operation_id="getVersion",
        summary="Get the version of the server",
        handler=get_version,
        tag="system",
        problems=DOWN,
    )
