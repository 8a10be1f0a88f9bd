"""The credentials of requests: tokens, passwords and certificates, read again because they rotate while we run.

Source of the interval: client-go reads token files again every minute (transport/token_source.go). The kubelet replaces a
projected token after 80 % of its lifetime, so a token that was read a minute ago is still valid.
"""

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
    """The value of a request's Authorization header, and the client certificate of its connection."""

    authorization: str | None = None
    certificate: ClientCertificate | None = None

    def __repr__(self) -> str:
        return "Credential(...)"


class CredentialSource(Protocol):
    """Where credentials come from."""

    async def get(self) -> Credential:
        """Return the credential for the next request.

        Raises:
            TemporaryError: no credential is available now.
        """
        ...

    async def renew(self, rejected: Credential) -> None:
        """Get a new credential, because the API server answered 401 to `rejected`.

        Raises:
            TemporaryError: no credential is available now.
        """
        ...


class ConfiguredSource:
    """The configured token, password and client certificate. Files are read again every minute.

    A file may be missing for a moment while it is replaced. Then its last content stays in use, and the log says so.
    """

    def __init__(self, user: UserConfig, *, monotonic: Callable[[], float]) -> None:
        self._user = user
        self._monotonic = monotonic
        self._credential: Credential | None = None
        self._read_at = 0.0

    async def get(self) -> Credential:
        """Return the credential; files are read again after a minute."""
        if self._credential is None or self._monotonic() - self._read_at >= REREAD_SECONDS:
            self._read()
        assert self._credential is not None
        return self._credential

    async def renew(self, rejected: Credential) -> None:
        """Read the files again, unless that happened since `rejected` was read."""
        if self._credential is None or self._credential == rejected:
            self._read()

    def _read(self) -> None:
        try:
            self._credential = Credential(authorization=self._authorization(), certificate=self._certificate())
        except (OSError, ValueError) as error:
            # The error names a file of ours. It goes to the log only: what is raised reaches the records of jobs.
            _log.warning("credentials cannot be read", action="credentials.read", error=str(error))
            if self._credential is None:
                message = "the credentials for the cluster cannot be read; see the log of the component"
                raise TemporaryError(message, delay_seconds=5.0) from None
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
