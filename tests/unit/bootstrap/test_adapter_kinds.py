"""Which adapter an address of KJR_QUEUE leads to."""

from __future__ import annotations

import subprocess
import sys

import pytest

from kube_job_runner.adapters.sqs.configured import SqsConfigured
from kube_job_runner.bootstrap.adapter_kinds import QUEUE_KINDS, external_queue
from kube_job_runner.domain.errors import ConfigurationError
from kube_job_runner.settings.groups import QueueSettings


def test_the_database_is_the_queue_by_default() -> None:
    assert external_queue(QueueSettings()) is None


@pytest.mark.parametrize(
    "address", ["sqs://kjr", "sqs://123456789012/kjr", "https://sqs.eu-west-1.amazonaws.com/123456789012/kjr"]
)
def test_addresses_of_sqs(address: str) -> None:
    assert isinstance(external_queue(QueueSettings(address=address)), SqsConfigured)


@pytest.mark.parametrize("address", ["", "kjr", "redis://kjr", "postgresql://h/d"])
def test_another_address_is_refused_with_the_forms_that_there_are(address: str) -> None:
    with pytest.raises(ConfigurationError, match=r"KJR_QUEUE='.*': must be `postgres`, `sqs://NAME`, ") as caught:
        external_queue(QueueSettings(address=address))
    assert all(kind.forms in str(caught.value) for kind in QUEUE_KINDS)


def test_no_scheme_names_two_adapters() -> None:
    schemes = [scheme for kind in QUEUE_KINDS for scheme in kind.schemes]
    assert len(schemes) == len(set(schemes))


def test_reading_an_address_imports_no_library_of_a_queue() -> None:
    script = """
import sys
from kube_job_runner.bootstrap.adapter_kinds import external_queue
from kube_job_runner.settings.groups import QueueSettings
external_queue(QueueSettings(address="sqs://kjr"))
print(sorted(name for name in sys.modules if name.partition(".")[0] in ("aiobotocore", "botocore")))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("[]\n", "")
