"""Queues on the test bed's ElasticMQ: made with the product's `init`, read with its client."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Mapping
from typing import Any

from kube_job_runner.adapters.sqs import address, admin, connect
from kube_job_runner.adapters.sqs.address import Address
from kube_job_runner.adapters.sqs.client import Client, open_client
from kube_job_runner.adapters.sqs.message_queue import SqsQueue
from testbed.elasticmq import ElasticMQ

WAIT_SECONDS = 10.0


def new_address(endpoint: str, *, prefix: str = "kjr") -> Address:
    """Return a queue that nobody else uses; it is not made yet."""
    return address.parse(f"sqs://{prefix}-{secrets.token_hex(4)}", endpoint=endpoint, default_region="elasticmq")


def settings_of(server: ElasticMQ, where: Address) -> dict[str, Any]:
    """Return the settings of the product that lead to a queue."""
    return {"queue": f"sqs://{where.name}", "queue_endpoint": server.url}


async def make(where: Address, *, lease_seconds: float = 30.0, max_deliveries: int = 10) -> list[str]:
    """Make a queue as `kjr queue init` does."""
    return await admin.init(where, lease_seconds=lease_seconds, max_deliveries=max_deliveries)


@contextlib.asynccontextmanager
async def opened(where: Address, *, wait_seconds: float = WAIT_SECONDS) -> AsyncIterator[SqsQueue]:
    """The queue as a component has it."""
    async with connect.connect(where, receive_seconds=5, stop=asyncio.Event(), wait_seconds=wait_seconds) as found:
        yield found


async def dead_letters(where: Address) -> list[tuple[bytes, Mapping[str, str]]]:
    """Return the messages of the dead-letter queue with their attributes; they stay there."""
    found: list[tuple[bytes, Mapping[str, str]]] = []
    async with open_client(where) as client:
        url = await connect.queue_url(client, where.dead_name, None)
        while more := await _take(client, url):
            found += more
    return found


async def _take(client: Client, url: str) -> list[tuple[bytes, Mapping[str, str]]]:
    answer = await client.call(
        "receive_message", QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=2, MessageAttributeNames=["All"]
    )
    return [
        (
            message["Body"].encode(),
            {name: value["StringValue"] for name, value in message.get("MessageAttributes", {}).items()},
        )
        for message in answer.get("Messages") or ()
    ]
