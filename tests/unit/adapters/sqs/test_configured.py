"""The queue that the settings name, without the library that it needs."""

from __future__ import annotations

import subprocess
import sys

import pytest

from kube_job_runner.adapters.sqs.configured import configured
from kube_job_runner.domain.errors import ConfigurationError
from kube_job_runner.settings.groups import QueueSettings


@pytest.mark.parametrize(
    "call",
    [
        "asyncio.run(queue.init(lease_seconds=1, max_deliveries=1))",
        "asyncio.run(queue.check(max_deliveries=1))",
        "queue.open(stop=asyncio.Event(), wait_seconds=1)",
    ],
)
def test_without_the_extra_it_says_what_to_install(call: str) -> None:
    script = f"""
import asyncio, sys
sys.modules["aiobotocore"] = None
from kube_job_runner.adapters.sqs.configured import configured
from kube_job_runner.domain.errors import ConfigurationError
from kube_job_runner.settings.groups import QueueSettings
queue = configured(QueueSettings(address="sqs://kjr"))
try:
    {call}
except ConfigurationError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert "pip install 'kube-job-runner[sqs]'" in done.stdout, done.stderr


def test_an_address_is_checked_before_anything_is_opened() -> None:
    with pytest.raises(ConfigurationError, match="a FIFO queue"):
        configured(QueueSettings(address="sqs://kjr.fifo"))
