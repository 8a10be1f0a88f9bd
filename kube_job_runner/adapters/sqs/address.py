"""Addresses of SQS queues: `KJR_QUEUE` with its region and endpoint, checked before any request to AWS."""

import re
from urllib.parse import urlsplit

import msgspec

from kube_job_runner.domain.errors import ConfigurationError
from kube_job_runner.settings import masked

DEAD_SUFFIX = "-dead"
NAME_MAX_CHARACTERS = 80 - len(DEAD_SUFFIX)  # SQS takes 80; the dead-letter queue has the same name and a suffix
_NAME = re.compile(rf"[A-Za-z0-9_-]{{1,{NAME_MAX_CHARACTERS}}}")
_ACCOUNT = re.compile(r"[0-9]{12}")
# sqs.eu-west-1.amazonaws.com, sqs-fips.us-east-1..., vpce-1-2.sqs.eu-west-1.vpce.amazonaws.com, eu-west-1.queue.amazonaws.com
_AWS_HOST = re.compile(
    r"(?:.*\.)?(?:sqs(?:-fips)?\.([a-z0-9-]+)|([a-z0-9-]+)\.queue)\.(?:vpce\.)?amazonaws\.com(?:\.cn)?"
)
FORMS = (
    "`sqs://NAME`, `sqs://ACCOUNT/NAME` (a queue of another account), or the queue's URL as SQS shows it"
    " (`https://sqs.eu-west-1.amazonaws.com/123456789012/NAME`)"
)


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """A standard queue. `account` owns it (None: our own); `region` and `endpoint` are those of AWS's own settings when None."""

    name: str
    account: str | None = None
    region: str | None = None
    endpoint: str | None = None

    @property
    def dead_name(self) -> str:
        """Name of the dead-letter queue that `kjr queue init` makes."""
        return self.name + DEAD_SUFFIX


def parse(
    text: str, *, region: str | None = None, endpoint: str | None = None, default_region: str | None = None
) -> Address:
    """Return the queue that `KJR_QUEUE` names. `region` and `endpoint` win over its URL, the URL wins over `default_region`.

    Raises:
        ConfigurationError: it has none of the forms, or names a FIFO queue.
    """
    parts = urlsplit(text)
    path = [part for part in f"{parts.netloc}{parts.path}".split("/") if part]
    if parts.scheme in ("http", "https") and len(path) == 3:
        host = _AWS_HOST.fullmatch(parts.hostname or "")
        region = region or (host and (host[1] or host[2])) or None
        if host is None or ".vpce." in host[0]:
            endpoint = endpoint or f"{parts.scheme}://{parts.netloc}"
        path = path[1:]
    elif parts.scheme != "sqs" or not 1 <= len(path) <= 2:
        raise ConfigurationError(f"KJR_QUEUE={masked(text)!r}: must be `postgres`, {FORMS}")
    account, name = (path[0], path[1]) if len(path) == 2 else (None, path[0])
    if name.endswith(".fifo"):
        raise ConfigurationError(
            f"KJR_QUEUE={masked(text)!r}: a FIFO queue; name a standard one (no message depends on another's order here)"
        )
    if not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"KJR_QUEUE={masked(text)!r}: the name {name!r} must be 1 to {NAME_MAX_CHARACTERS} letters, digits, hyphens and"
            " underscores"
        )
    if account is not None and not _ACCOUNT.fullmatch(account):
        raise ConfigurationError(f"KJR_QUEUE={masked(text)!r}: the account {account!r} must be 12 digits")
    return Address(name=name, account=account, region=region or default_region, endpoint=endpoint)
