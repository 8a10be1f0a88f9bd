"""Who we say we are with each request, kept fresh: tokens and certificates rotate while we run.

Source of the intervals: client-go re-reads token files every minute (transport/token_source.go), and kubelet replaces
a projected token when 80 % of its life is over, so a token read a minute ago is always still valid.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Protocol

import msgspec

from kube_job_runner.adapters.kubernetes.rest_config import UserConfig
from kube_job_runner.adapters.kubernetes.tls import ClientCertificate
from kube_job_runner.domain.errors import TemporaryError
from kube_job_runner.telemetry.loggers import get_logger

REREAD_SECONDS = 60.0

_log = get_logger(__name__)


class Credential(msgspec.Struct, frozen=True, kw_only=True):
    """What goes with a request: the value of its Authorization header, and a client certificate for its connection."""

    authorization: str | None = None
    certificate: ClientCertificate | None = None

    def __repr__(self) -> str:
        return "Credential(...)"


class CredentialSource(Protocol):
    """Where credentials come from."""

    async def get(self) -> Credential:
        """Return the credential for the next request.

        Raises:
            TemporaryError: there is none now.
        """
        ...

    async def renew(self, rejected: Credential) -> None:
        """Get a new credential, because the API server answered 401 to `rejected`.

        Raises:
            TemporaryError: there is none now.
        """
        ...


class ConfiguredSource:
    """Token, token file, password and client certificate as configured; what is a file is read again every minute.

    A file that is missing for a moment, as happens while it is replaced, leaves the last good content in use.
    """

    def __init__(self, user: UserConfig, *, monotonic: Callable[[], float]) -> None:
        self._user = user
        self._monotonic = monotonic
        self._credential: Credential | None = None
        self._read_at = 0.0

    async def get(self) -> Credential:
        """Return the credential, read again when it is a minute old."""
        if self._credential is None or self._monotonic() - self._read_at >= REREAD_SECONDS:
            self._read()
        assert self._credential is not None
        return self._credential

    async def renew(self, rejected: Credential) -> None:
        """Read the files again, unless somebody has since `rejected` was read."""
        if self._credential is None or self._credential == rejected:
            self._read()

    def _read(self) -> None:
        try:
            self._credential = Credential(authorization=self._authorization(), certificate=self._certificate())
        except (OSError, ValueError) as error:
            if self._credential is None:
                raise TemporaryError(f"credentials cannot be read: {error}", delay_seconds=5.0) from None
            _log.warning("credentials_not_reread", error=str(error))
        self._read_at = self._monotonic()

    def _authorization(self) -> str | None:
        user = self._user
        if user.token_file is not None:
            token = user.token_file.read_text(encoding="ascii").strip()
            if not token:
                raise ValueError(f"{user.token_file} is empty")
            return f"Bearer {token}"
        if user.token is not None:
            return f"Bearer {user.token.strip()}"
        if user.username is not None:
            pair = f"{user.username}:{user.password or ''}".encode()
            return "Basic " + base64.b64encode(pair).decode("ascii")
        return None

    def _certificate(self) -> ClientCertificate | None:
        if self._user.client_certificate is None or self._user.client_key is None:
            return None
        return ClientCertificate(chain=self._user.client_certificate.read(), key=self._user.client_key.read())
