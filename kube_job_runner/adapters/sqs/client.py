"""Requests to SQS: credentials from the whole AWS chain, a bound on every call, and errors translated into ours.

While the server runs, every refusal is temporary, except the refusal of one message. A deleted queue, a missing right and expired
credentials may all be fixed. Until then everything waits in the database.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore import exceptions

from kube_job_runner.adapters.sqs.address import Address
from kube_job_runner.domain.errors import ConfigurationError, PermanentError, TemporaryError

CALL_SECONDS = 10.0
CONNECT_SECONDS = 5.0
LONG_POLL_MAX_SECONDS = 20
_CONNECTIONS = 64
_TRIES = 3  # botocore's own, with jitter; the caller backs off further
_THROTTLED_SECONDS = 2.0
_REFUSED_SECONDS = 5.0

_THROTTLED = ("Throttl", "RequestLimitExceeded", "TooManyRequests", "SlowDown", "KmsThrottled")
_MISSING = ("QueueDoesNotExist", "NonExistentQueue", "QueueDeletedRecently")
_FULL = ("OverLimit",)  # 120,000 messages in flight: SQS gives out no more until some are acknowledged
_UNFIT = (
    "InvalidMessageContents",
    "BatchRequestTooLong",
    "InvalidParameterValue",
    "InvalidAttributeValue",
    "MessageTooLong",
)
_REFUSED = (
    "AccessDenied",
    "InvalidClientTokenId",
    "SignatureDoesNotMatch",
    "UnrecognizedClient",
    "ExpiredToken",
    "Kms",
)


class UnfitRequest(PermanentError):
    """SQS never takes this request."""


class QueueMissing(TemporaryError):
    """There is no such queue."""


class Client:
    """SQS for one queue. `where` names it in errors."""

    def __init__(self, raw: Any, *, where: str) -> None:
        self._raw = raw
        self.where = where

    async def call(self, operation: str, *, timeout_seconds: float = CALL_SECONDS, **parameters: Any) -> dict[str, Any]:
        """Return the answer to a request; `operation` is a method of botocore's client.

        Raises:
            TemporaryError: there was no answer, or it was throttled or refused.
            UnfitRequest: the request itself is wrong.
            ConfigurationError: no credentials were found.
        """
        try:
            async with asyncio.timeout(timeout_seconds):
                answer: dict[str, Any] = await getattr(self._raw, operation)(**parameters)
                return answer
        except (exceptions.ClientError, exceptions.BotoCoreError, aiohttp.ClientError, OSError, TimeoutError) as error:
            raise translate(error, f"{self.where}: {operation.replace('_', ' ')}") from error


@contextlib.asynccontextmanager
async def open_client(address: Address) -> AsyncIterator[Client]:
    """Open a client. Credentials come from the environment, a profile, a web identity, or the role of a container or instance.

    Raises:
        ConfigurationError: no region is known, or an AWS setting cannot be read.
    """
    config = AioConfig(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=LONG_POLL_MAX_SECONDS + CALL_SECONDS,
        max_pool_connections=_CONNECTIONS,
        retries={"mode": "standard", "total_max_attempts": _TRIES},
        parameter_validation=False,
        user_agent_extra="kube-job-runner",
    )
    where = f"SQS queue {address.name}"
    async with contextlib.AsyncExitStack() as stack:
        try:
            making = get_session().create_client(
                "sqs", region_name=address.region, endpoint_url=address.endpoint, config=config
            )
            raw = await stack.enter_async_context(making)
        except exceptions.NoRegionError as error:
            raise ConfigurationError(f"{where}: no region is known; set KJR_QUEUE_REGION or AWS_REGION") from error
        except (exceptions.BotoCoreError, ValueError) as error:
            raise ConfigurationError(f"{where}: {error}") from error
        yield Client(raw, where=where)


def translate(error: Exception, doing: str) -> Exception:
    """Return our error for an error of botocore, aiohttp or the socket; `doing` says what failed."""
    if isinstance(error, exceptions.NoCredentialsError):
        return ConfigurationError(
            f"{doing}: no AWS credentials were found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE,"
            " or give the pod's service account a role"
        )
    if not isinstance(error, exceptions.ClientError):
        said = str(error).strip() or type(error).__name__
        return TemporaryError(f"{doing}: {said[:300]}")
    code = str(error.response.get("Error", {}).get("Code", ""))
    said = f"{doing}: {code}: {error.response.get('Error', {}).get('Message', '')}"[:400]
    if any(part in code for part in _THROTTLED):
        return TemporaryError(said, delay_seconds=_THROTTLED_SECONDS)
    if any(part in code for part in _MISSING):
        return QueueMissing(f"{said} (`kjr queue init` makes it)", delay_seconds=_REFUSED_SECONDS)
    if any(part in code for part in _UNFIT):
        return UnfitRequest(said)
    refused = any(part in code for part in (*_REFUSED, *_FULL))
    return TemporaryError(said, delay_seconds=_REFUSED_SECONDS if refused else 1.0)
