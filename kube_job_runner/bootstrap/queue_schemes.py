"""The queues outside the database: which adapter each scheme of KJR_QUEUE names."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

import msgspec

from kube_job_runner.adapters.sqs import configured as sqs
from kube_job_runner.domain.errors import ConfigurationError
from kube_job_runner.ports import ExternalQueue
from kube_job_runner.settings.groups import QueueSettings

IN_DATABASE = "postgres"


class QueueKind(msgspec.Struct, frozen=True, kw_only=True):
    """One adapter of queues: the schemes that name it, the forms of its addresses, and how the settings lead to a queue."""

    schemes: tuple[str, ...]
    forms: str
    configured: Callable[[QueueSettings], ExternalQueue]


KINDS = (QueueKind(schemes=("sqs", "https", "http"), forms=sqs.FORMS, configured=sqs.configured),)


def external_queue(settings: QueueSettings) -> ExternalQueue | None:
    """Return the queue that KJR_QUEUE names, or None when the database is the queue. Nothing is connected to.

    Raises:
        ConfigurationError: KJR_QUEUE cannot be read.
    """
    if settings.address == IN_DATABASE:
        return None
    scheme = urlsplit(settings.address).scheme
    for kind in KINDS:
        if scheme in kind.schemes:
            return kind.configured(settings)
    forms = ", ".join([f"`{IN_DATABASE}`", *(kind.forms for kind in KINDS)])
    raise ConfigurationError(f"KJR_QUEUE={settings.address!r}: must be {forms}")
