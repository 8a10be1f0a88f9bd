"""The SQS queue that the settings name. The AWS library (1 s, 50 MB) is imported only at the first use."""

import asyncio
import contextlib
from collections.abc import Iterator

from kube_job_runner.adapters.sqs.address import FORMS, Address, parse
from kube_job_runner.domain.errors import ConfigurationError
from kube_job_runner.ports import OpenQueue, QueueCounts
from kube_job_runner.settings import aws_region
from kube_job_runner.settings.groups import QueueSettings

__all__ = ["FORMS", "SqsConfigured", "configured"]


class SqsConfigured:
    """`ExternalQueue` on SQS, and on services that speak its protocol."""

    def __init__(self, address: Address, *, receive_seconds: float) -> None:
        self._address = address
        self._receive_seconds = receive_seconds

    def open(self, *, stop: asyncio.Event, wait_seconds: float) -> contextlib.AbstractAsyncContextManager[OpenQueue]:
        with _library():
            from kube_job_runner.adapters.sqs import connect
        return connect.connect(
            self._address, receive_seconds=self._receive_seconds, stop=stop, wait_seconds=wait_seconds
        )

    async def init(self, *, lease_seconds: float, max_deliveries: int) -> list[str]:
        with _library():
            from kube_job_runner.adapters.sqs import admin
        return await admin.init(self._address, lease_seconds=lease_seconds, max_deliveries=max_deliveries)

    async def check(self, *, max_deliveries: int) -> tuple[list[str], QueueCounts]:
        with _library():
            from kube_job_runner.adapters.sqs import admin
        return await admin.check(self._address, max_deliveries=max_deliveries)


def configured(settings: QueueSettings) -> SqsConfigured:
    """Return the queue of KJR_QUEUE with its region and endpoint.

    Raises:
        ConfigurationError: KJR_QUEUE is none of the forms, or names a FIFO queue.
    """
    address = parse(settings.address, region=settings.region, endpoint=settings.endpoint, default_region=aws_region())
    return SqsConfigured(address, receive_seconds=settings.wait_seconds)


@contextlib.contextmanager
def _library() -> Iterator[None]:
    """Say which extra is missing when the AWS library is."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"KJR_QUEUE names an SQS queue, which needs the extra `sqs`: pip install 'kube-job-runner[sqs]' ({error})"
        ) from error
