"""Carries out the deletes of a batch. Each is a message of its own, because a delete destroys evidence."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from kube_job_runner import ports
from kube_job_runner.domain.messages import Delete
from kube_job_runner.services.pipeline import job_metrics
from kube_job_runner.services.pipeline.redelivery import Redelivery


class Deletions:
    """Removes cluster jobs through the cluster port."""

    def __init__(self, *, cluster: ports.ClusterWriter, redelivery: Redelivery) -> None:
        self._cluster = cluster
        self._redelivery = redelivery

    async def carry_out(self, deletes: Sequence[tuple[ports.Delivery, Delete]]) -> None:
        """Carry out deletes at once, and acknowledge together those that are done."""
        done = await asyncio.gather(*(self._done(delivery, message) for delivery, message in deletes))
        if any(done):
            await self._redelivery.acknowledge(
                [delivery.receipt for (delivery, _), is_done in zip(deletes, done, strict=True) if is_done]
            )

    async def _done(self, delivery: ports.Delivery, message: Delete) -> bool:
        """Carry out one delete; False when its message comes back."""
        try:
            deletion = self._cluster.delete(
                message.namespace,
                message.cluster_name,
                cluster_uid=message.cluster_uid,
                wait_for_pods=message.wait_for_pods,
                pods=message.pods,
                grace_seconds=message.grace_seconds,
            )
            await job_metrics.counted("delete", deletion)
        except Exception as error:  # noqa: BLE001 - one bad delete must not take its batch down
            if await self._redelivery.delete_failed(delivery, message, error):
                return False
        job_metrics.count_messages([message])
        return True
