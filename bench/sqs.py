"""The cost of a message through SQS: our adapter compared with a plain boto3 loop, on one ElasticMQ, in one run.

Each sends and drains the same bodies in batches of ten, in its own process, so that the CPU time is its own. The JVM's CPU is
in neither figure; ElasticMQ limits the messages per second.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import secrets
import time
import uuid
from collections.abc import Callable
from typing import Any

from bench import table
from testbed.elasticmq import ElasticMQ

BODY = json.dumps({"type": "check", "job_id": str(uuid.UUID(int=1))}).encode()
TEN = 10


def plain(url: str, messages: int) -> dict[str, float]:
    """A plain loop: boto3, batches of ten, one request after the other."""
    import boto3

    client = boto3.client("sqs", endpoint_url=url, region_name="elasticmq")
    message_queue = client.create_queue(QueueName=f"bench-{secrets.token_hex(4)}")["QueueUrl"]

    def send() -> None:
        for _ in range(messages // TEN):
            entries = [{"Id": str(n), "MessageBody": BODY.decode()} for n in range(TEN)]
            assert not client.send_message_batch(QueueUrl=message_queue, Entries=entries).get("Failed")

    def drain() -> None:
        left = messages
        while left:
            found = client.receive_message(QueueUrl=message_queue, MaxNumberOfMessages=TEN, WaitTimeSeconds=1).get(
                "Messages", []
            )
            entries = [{"Id": str(n), "ReceiptHandle": m["ReceiptHandle"]} for n, m in enumerate(found)]
            if entries:
                assert not client.delete_message_batch(QueueUrl=message_queue, Entries=entries).get("Failed")
            left -= len(found)

    return {"send": _timed(send, messages), "drain": _timed(drain, messages)} | _cpu


def ours(url: str, messages: int) -> dict[str, float]:
    """The adapter, as the relay and the processor use it."""
    from kube_job_runner.adapters.sqs import address, admin, connect

    where = address.parse(f"sqs://bench-{secrets.token_hex(4)}", endpoint=url, default_region="elasticmq")

    async def run() -> dict[str, float]:
        await admin.init(where, lease_seconds=60, max_deliveries=10)
        async with connect.connect(where, receive_seconds=5, stop=asyncio.Event(), wait_seconds=10) as opened:
            began, cpu = time.monotonic(), time.process_time()
            for start in range(0, messages, 400):
                outcomes = await opened.send_bodies([BODY] * min(400, messages - start))
                assert not any(outcomes)
            sent, sent_cpu = time.monotonic() - began, time.process_time() - cpu
            began, cpu, left = time.monotonic(), time.process_time(), messages
            while left:
                found = await opened.receive(limit=200, wait_seconds=1, visibility_seconds=60)
                await opened.ack([each.receipt for each in found])
                left -= len(found)
            drained, drained_cpu = time.monotonic() - began, time.process_time() - cpu
        return {
            "send": messages / sent,
            "drain": messages / drained,
            "send_cpu": sent_cpu / messages * 1e6,
            "drain_cpu": drained_cpu / messages * 1e6,
        }

    return asyncio.run(run())


_cpu: dict[str, float] = {}


def _timed(work: Callable[[], None], messages: int) -> float:
    began, cpu = time.monotonic(), time.process_time()
    work()
    _cpu[f"{work.__name__}_cpu"] = (time.process_time() - cpu) / messages * 1e6
    return messages / (time.monotonic() - began)


def _apart(side: Callable[[str, int], dict[str, float]], url: str, messages: int) -> dict[str, Any]:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(side, (url, messages))


def main(*, messages: int = 4_000, rounds: int = 3) -> None:
    """Measure in alternating order and print the medians."""
    with ElasticMQ() as server:
        os.environ.update(server.environment)
        _apart(plain, server.url, 1_000)  # the JVM warms up
        found: dict[str, list[dict[str, Any]]] = {"boto3 loop": [], "kube-job-runner": []}
        sides = {"boto3 loop": plain, "kube-job-runner": ours}
        for turn in range(rounds):
            for name in sorted(sides, reverse=bool(turn % 2)):
                found[name].append(_apart(sides[name], server.url, messages))
    rows = []
    for name, results in found.items():
        medians = {key: sorted(result[key] for result in results)[len(results) // 2] for key in results[0]}
        figures = [f"{medians[key]:,.0f}" for key in ("send", "send_cpu", "drain", "drain_cpu")]
        rows.append([name, *figures])
    header = [
        "client",
        "sent/s",
        "CPU us/message sent",
        "received and removed/s",
        "CPU us/message received and removed",
    ]
    table.show(f"SQS (ElasticMQ), {messages:,} messages, batches of ten", header, rows)
