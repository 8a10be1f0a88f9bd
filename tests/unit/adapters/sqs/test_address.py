"""KJR_QUEUE in all its forms."""

from __future__ import annotations

import pytest

from kube_job_runner.adapters.sqs.address import Address, parse
from kube_job_runner.domain.errors import ConfigurationError

NUMBER = "123456789012"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sqs://kjr", Address(name="kjr")),
        (f"sqs://{NUMBER}/kjr_2", Address(name="kjr_2", account=NUMBER)),
        (
            f"https://sqs.eu-west-1.amazonaws.com/{NUMBER}/kjr",
            Address(name="kjr", account=NUMBER, region="eu-west-1"),
        ),
        (
            f"https://sqs.cn-north-1.amazonaws.com.cn/{NUMBER}/kjr",
            Address(name="kjr", account=NUMBER, region="cn-north-1"),
        ),
        (
            f"https://sqs-fips.us-east-2.amazonaws.com/{NUMBER}/kjr",
            Address(name="kjr", account=NUMBER, region="us-east-2"),
        ),
        (
            f"https://eu-west-1.queue.amazonaws.com/{NUMBER}/kjr",
            Address(name="kjr", account=NUMBER, region="eu-west-1"),
        ),
        (
            f"https://vpce-1-2.sqs.eu-west-1.vpce.amazonaws.com/{NUMBER}/kjr",
            Address(
                name="kjr",
                account=NUMBER,
                region="eu-west-1",
                endpoint="https://vpce-1-2.sqs.eu-west-1.vpce.amazonaws.com",
            ),
        ),
        (
            "http://127.0.0.1:9324/000000000000/kjr",
            Address(name="kjr", account="000000000000", endpoint="http://127.0.0.1:9324"),
        ),
    ],
)
def test_every_form_of_an_address(text: str, expected: Address) -> None:
    assert parse(text) == expected


def test_settings_win_over_the_url_and_the_url_over_the_default() -> None:
    url = f"https://sqs.eu-west-1.amazonaws.com/{NUMBER}/kjr"
    assert parse(url, default_region="us-east-1").region == "eu-west-1"
    assert parse(url, region="us-west-2", default_region="us-east-1").region == "us-west-2"
    assert parse("sqs://kjr", default_region="us-east-1").region == "us-east-1"
    assert parse(url, endpoint="http://127.0.0.1:9").endpoint == "http://127.0.0.1:9"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("kjr", "must be `postgres`, `sqs://NAME`"),
        ("sqs://", "must be `postgres`, `sqs://NAME`"),
        ("sqs://a/b/c", "must be `postgres`, `sqs://NAME`"),
        ("https://sqs.eu-west-1.amazonaws.com/kjr", "must be `postgres`"),
        ("amqp://host/kjr", "must be `postgres`"),
        ("sqs://kjr.fifo", "FIFO"),
        ("sqs://" + "x" * 76, "1 to 75 letters"),
        ("sqs://k%20r", "1 to 75 letters"),
        ("sqs://1234/kjr", "'1234' must be 12 digits"),
    ],
)
def test_what_is_no_address_is_refused_with_the_remedy(text: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        parse(text)
