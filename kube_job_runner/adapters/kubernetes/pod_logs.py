"""Reads the live log of a container: the kubelet's stream, through the API server."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from datetime import UTC, datetime
from urllib.parse import quote

from kube_job_runner.adapters.kubernetes import answers, api_paths
from kube_job_runner.adapters.kubernetes.answers import Answer, Refused
from kube_job_runner.adapters.kubernetes.client import REQUEST_SECONDS, Client
from kube_job_runner.domain.backoff import Backoff
from kube_job_runner.domain.errors import KjrError, NotFound

# 400 of the API server before there is a log (pkg/registry/core/pod/strategy.go, kubelet_pods.go)
_NOT_STARTED = ("is waiting to start", "ContainerCreating", "PodInitializing", "does not have a host assigned")

FOLLOW_SILENT_SECONDS = 3600.0


class _NotStarted(Exception):
    pass


async def read(
    client: Client,
    namespace: str,
    pod_name: str,
    *,
    container: str,
    follow: bool,
    since: datetime | None = None,
    timestamps: bool = False,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> AsyncGenerator[bytes]:
    """Yield the log of a container; see `ports.ClusterLogs.logs`.

    With `follow`, a container that has not started is waited for as long as its pod exists.

    Raises:
        NotFound: there is no such pod or container, or (without `follow`) no log yet; the text says which.
        ClusterRefused: we may not read it.
        TemporaryError: the cluster did not answer, or the stream broke off.
    """
    target = f"{api_paths.pods(namespace, pod_name)}/log?container={quote(container)}"
    if follow:
        target += "&follow=true"
    if timestamps:
        target += "&timestamps=true"
    if since is not None:  # the API server passes whole seconds on (pkg/registry/core/pod, LogLocation)
        target += f"&sinceTime={since.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
    retries = Backoff(first_seconds=0.25, max_seconds=5.0)
    while True:
        try:
            # A kubelet sends no header before the first line of a log, which may take hours.
            idle_seconds = FOLLOW_SILENT_SECONDS if follow else REQUEST_SECONDS
            async with client.stream(target, action=f"log of pod {pod_name}", idle_seconds=idle_seconds) as stream:
                # A quiet job may be silent for hours; TCP keepalive notices a dead peer.
                while chunk := await stream.read(idle_seconds=None if follow else REQUEST_SECONDS):
                    yield chunk
                return
        except Refused as refused:
            error = _error(refused.answer, pod_name)
            if not (follow and isinstance(error, _NotStarted)):
                raise NotFound(str(error)) if isinstance(error, _NotStarted) else error from None
        await sleep(retries.next())


def _error(answer: Answer, pod_name: str) -> KjrError | _NotStarted:
    status = answers.parse_status(answer.body)
    text = status.message or f"HTTP {answer.status}"
    if answer.status == 400 and any(part in text for part in _NOT_STARTED):
        return _NotStarted(text)
    if status.kind == "Status" and answer.status in (400, 404):
        return NotFound(text)
    return answers.refusal(answer, action=f"log of pod {pod_name}")
