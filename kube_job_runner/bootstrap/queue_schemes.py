"""The queue that the settings name, when it is not the database."""

from __future__ import annotations

import importlib
from typing import Any, Literal

from kube_job_runner.domain.errors import ConfigurationError
from kube_job_runner.settings import Settings, aws_region


def queue_address(settings: Settings) -> Any:
    """Return the `Address` of the queue outside the database, or None when the database is the queue.

    Raises:
        ConfigurationError: KJR_QUEUE cannot be read.
    """
    if settings.queue.address == "postgres":
        return None
    from kube_job_runner.adapters.sqs import address

    return address.parse(
        settings.queue.address,
        region=settings.queue.region,
        endpoint=settings.queue.endpoint,
        default_region=aws_region(),
    )


def sqs_module(module: Literal["admin", "message_queue"]) -> Any:
    """Import a part of the SQS adapter.

    Raises:
        ConfigurationError: its library is not installed.
    """
    try:
        return importlib.import_module(f"kube_job_runner.adapters.sqs.{module}")
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"KJR_QUEUE names an SQS queue, which needs the extra `sqs`: pip install 'kube-job-runner[sqs]' ({error})"
        ) from error
