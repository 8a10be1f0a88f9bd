"""Creates and checks the queue and its dead-letter queue, with the rights of an operator. No component has them."""

import json
from typing import Any

from kube_job_runner.adapters.sqs.address import Address
from kube_job_runner.adapters.sqs.client import Client, QueueMissing, open_client
from kube_job_runner.adapters.sqs.connect import queue_url
from kube_job_runner.adapters.sqs.message_queue import VISIBILITY_MAX_SECONDS
from kube_job_runner.domain.errors import ConfigurationError, TemporaryError
from kube_job_runner.ports import QueueCounts

RETENTION_SECONDS = 14 * 86_400  # the most that SQS allows
RETENTION_LEAST_SECONDS = 86_400
RECEIVES_BEYOND = 5
"""Receives beyond `KJR_MAX_DELIVERIES` before SQS itself acts: the messages-processor, which records the error, acts first."""
RECEIVES_MAX = 1_000  # the most that a redrive policy allows


def receives_of(max_deliveries: int) -> int:
    """Return the receives after which SQS itself moves a message to the dead-letter queue.

    Raises:
        ConfigurationError: it is more than a redrive policy allows.
    """
    if max_deliveries + RECEIVES_BEYOND > RECEIVES_MAX:
        raise ConfigurationError(
            f"KJR_MAX_DELIVERIES={max_deliveries}: with SQS at most {RECEIVES_MAX - RECEIVES_BEYOND}"
        )
    return max_deliveries + RECEIVES_BEYOND


async def init(address: Address, *, lease_seconds: float, max_deliveries: int) -> list[str]:
    """Make the queue, its dead-letter queue and its redrive policy; see `ports.ExternalQueue.init`.

    Existing queues are kept. A redrive policy is written only if it is missing, or allows too few receives.
    """
    receives = receives_of(max_deliveries)
    visibility_seconds = min(max(1, round(lease_seconds)), VISIBILITY_MAX_SECONDS)
    if address.account is not None:
        raise ConfigurationError(
            f"queue {address.name} belongs to account {address.account}: make it there, with KJR_QUEUE=sqs://{address.name}"
        )
    try:
        async with open_client(address) as client:
            return await _init(client, address, visibility_seconds=visibility_seconds, receives=receives)
    except TemporaryError as error:
        raise ConfigurationError(str(error)) from error


async def _init(client: Client, address: Address, *, visibility_seconds: int, receives: int) -> list[str]:
    done: list[str] = []
    url = await _made(client, address.name, done, VisibilityTimeout=str(visibility_seconds))
    have = await _attributes(client, url)
    policy = _policy(have)
    if not policy.get("deadLetterTargetArn"):
        dead_url = await _made(client, address.dead_name, done)
        policy["deadLetterTargetArn"] = (await _attributes(client, dead_url))["QueueArn"]
    elif int(policy.get("maxReceiveCount", 0)) >= receives:
        return done
    policy["maxReceiveCount"] = receives
    await client.call("set_queue_attributes", QueueUrl=url, Attributes={"RedrivePolicy": json.dumps(policy)})
    done.append(f"{address.name}: after {receives} receives a message goes to {_name(policy)}")
    return done


async def _made(client: Client, name: str, done: list[str], **attributes: str) -> str:
    try:
        return await queue_url(client, name, None)
    except QueueMissing:
        wanted = {"MessageRetentionPeriod": str(RETENTION_SECONDS), **attributes}
        answer = await client.call("create_queue", QueueName=name, Attributes=wanted)
        done.append(f"{name}: made; it keeps messages for {RETENTION_SECONDS // 86_400} days")
        return str(answer["QueueUrl"])


async def check(address: Address, *, max_deliveries: int) -> tuple[list[str], QueueCounts]:
    """Check the queue, its redrive policy and its dead-letter queue; see `ports.ExternalQueue.check`."""
    receives_of(max_deliveries)
    try:
        async with open_client(address) as client:
            return await _check(client, address, max_deliveries=max_deliveries)
    except QueueMissing:
        return [f"there is no queue {address.name}; run `kjr queue init`"], QueueCounts()
    except TemporaryError as error:
        raise ConfigurationError(str(error)) from error


async def _check(client: Client, address: Address, *, max_deliveries: int) -> tuple[list[str], QueueCounts]:
    have = await _attributes(client, await queue_url(client, address.name, address.account))
    problems = _problems(have, max_deliveries=max_deliveries)
    dead: dict[str, str] = {}
    if name := _name(_policy(have)):
        arn = str(_policy(have)["deadLetterTargetArn"]).split(":")
        try:
            dead = await _attributes(client, await queue_url(client, name, arn[4]))
        except QueueMissing:
            problems.append(
                f"the dead-letter queue {name} does not exist; make it, or remove the redrive policy and run init"
            )
    return problems, QueueCounts(
        waiting=_number(have, "ApproximateNumberOfMessages"),
        delayed=_number(have, "ApproximateNumberOfMessagesDelayed"),
        in_flight=_number(have, "ApproximateNumberOfMessagesNotVisible"),
        dead=_number(dead, "ApproximateNumberOfMessages"),
    )


def _problems(have: dict[str, str], *, max_deliveries: int) -> list[str]:
    problems = []
    policy = _policy(have)
    if not _name(policy):
        problems.append("it has no redrive policy: what cannot be handled comes back for ever; run `kjr queue init`")
    elif int(policy.get("maxReceiveCount", 0)) <= max_deliveries:
        problems.append(
            f"SQS moves a message after {policy['maxReceiveCount']} receives, and KJR_MAX_DELIVERIES is {max_deliveries}:"
            " messages die without their error; run `kjr queue init`"
        )
    if int(have.get("MessageRetentionPeriod", RETENTION_SECONDS)) < RETENTION_LEAST_SECONDS:
        problems.append(
            "it keeps messages for less than a day: what waits through an outage is lost; raise its retention"
        )
    if _number(have, "DelaySeconds"):
        problems.append(f"it delays every message by {have['DelaySeconds']} s; set its DelaySeconds to 0")
    return problems


async def _attributes(client: Client, url: str) -> dict[str, str]:
    answer: dict[str, Any] = await client.call("get_queue_attributes", QueueUrl=url, AttributeNames=["All"])
    return dict(answer["Attributes"])


def _policy(have: dict[str, str]) -> dict[str, Any]:
    return dict(json.loads(have.get("RedrivePolicy") or "{}"))


def _name(policy: dict[str, Any]) -> str:
    return str(policy.get("deadLetterTargetArn", "")).rpartition(":")[2]


def _number(have: dict[str, str], name: str) -> int:
    return int(have.get(name, 0))
