"""Opening a queue: find its URL and that of its dead-letter queue, and wait until both are there."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

from kube_job_runner.adapters.sqs.address import Address
from kube_job_runner.adapters.sqs.client import Client, QueueMissing, open_client
from kube_job_runner.adapters.sqs.message_queue import SqsQueue
from kube_job_runner.domain.errors import ConfigurationError, TemporaryError
from kube_job_runner.telemetry import loggers

_RETRY_SECONDS = 0.5

log = loggers.get_logger(__name__)


@contextlib.asynccontextmanager
async def connect(
    address: Address, *, receive_seconds: float, stop: asyncio.Event, wait_seconds: float
) -> AsyncIterator[SqsQueue]:
    """Open the queue; see `ports.ExternalQueue.open`. `receive_seconds` is how long a receive waits for messages."""
    async with open_client(address) as client:
        url, dead_url = await _urls(client, address, stop=stop, wait_seconds=wait_seconds)
        yield SqsQueue(client, url, dead_letter_url=dead_url, receive_seconds=receive_seconds)


async def _urls(
    client: Client, address: Address, *, stop: asyncio.Event, wait_seconds: float
) -> tuple[str, str | None]:
    """Return the URLs of the queue and of its dead-letter queue; empty ones when `stop` is set first."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + wait_seconds
    logged = False
    while True:
        try:
            url = await queue_url(client, address.name, address.account)
            return url, await dead_letter_url(client, url)
        except TemporaryError as error:
            if stop.is_set():
                return "", None
            if loop.time() > deadline:
                raise ConfigurationError(f"the queue cannot be used: {error}") from error
            if not logged:
                log.warning("waiting for the queue", action="queue.wait", error=str(error))
                logged = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_RETRY_SECONDS):
                await stop.wait()


async def queue_url(client: Client, name: str, account: str | None) -> str:
    """Return the URL of a queue.

    Raises:
        QueueMissing: there is none.
    """
    owner: dict[str, Any] = {"QueueOwnerAWSAccountId": account} if account else {}
    return str((await client.call("get_queue_url", QueueName=name, **owner))["QueueUrl"])


async def dead_letter_url(client: Client, url: str) -> str | None:
    """Return the URL of the queue that a queue's redrive policy names, or None."""
    answer = await client.call("get_queue_attributes", QueueUrl=url, AttributeNames=["RedrivePolicy"])
    policy = json.loads(answer.get("Attributes", {}).get("RedrivePolicy") or "{}")
    arn = str(policy.get("deadLetterTargetArn", "")).split(":")
    if len(arn) != 6:
        return None
    with contextlib.suppress(QueueMissing):
        return await queue_url(client, arn[5], arn[4])
    return None
