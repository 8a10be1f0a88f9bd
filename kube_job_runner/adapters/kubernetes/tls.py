"""TLS contexts for one cluster. When a certificate has changed, a new context is made.

A context is never changed: open connections keep the old one, and new requests use the new one.
"""

import os
import ssl
import tempfile
from collections.abc import Callable

import msgspec

from kube_job_runner.adapters.kubernetes.rest_config import ConnectionConfig
from kube_job_runner.domain.errors import TemporaryError
from kube_job_runner.telemetry.loggers import get_logger

_log = get_logger(__name__)

REREAD_SECONDS = 3600.0


class ClientCertificate(msgspec.Struct, frozen=True):
    """A client certificate chain and its key, both PEM."""

    chain: bytes
    key: bytes

    def __repr__(self) -> str:
        return "ClientCertificate(...)"


class Contexts:
    """The TLS context of the present certificate authority and a client certificate. Files are read again every hour."""

    def __init__(self, config: ConnectionConfig, *, monotonic: Callable[[], float]) -> None:
        self._config = config
        self._monotonic = monotonic
        self._authority: bytes | None = None
        self._read_at = -REREAD_SECONDS
        self._made: tuple[bytes | None, ClientCertificate | None, ssl.SSLContext] | None = None

    def get(self, certificate: ClientCertificate | None) -> ssl.SSLContext:
        """Return the context to use for the next request.

        Raises:
            TemporaryError: a certificate cannot be read or parsed now.
        """
        authority = self._authority_now()
        if self._made is not None and self._made[0] == authority and self._made[1] == certificate:
            return self._made[2]
        try:
            context = make_context(authority, certificate, insecure=self._config.insecure_skip_tls_verify)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            raise self._failure("TLS to the cluster cannot be set up", error) from None
        self._made = (authority, certificate, context)
        return context

    def expire(self) -> None:
        """Read the files again at the next request, because the server's certificate did not verify."""
        self._read_at = -REREAD_SECONDS

    def _authority_now(self) -> bytes | None:
        source = self._config.certificate_authority
        if source is None:
            return None
        now = self._monotonic()
        if self._authority is None or now - self._read_at >= REREAD_SECONDS:
            try:
                self._authority = source.read()
            except OSError as error:
                if self._authority is None:
                    raise self._failure("the certificate authority of the cluster cannot be read", error) from None
            self._read_at = now
        return self._authority

    def _failure(self, text: str, error: Exception) -> TemporaryError:
        """Log a failure with the files that it names, and return the error, which leaves them out."""
        _log.warning(text, action="credentials.tls", origin=self._config.origin, error=str(error))
        return TemporaryError(f"{text}; see the log of the component", delay_seconds=10.0)


def make_context(
    authority: bytes | None, certificate: ClientCertificate | None, *, insecure: bool = False
) -> ssl.SSLContext:
    """Return a client context that trusts `authority` (None: the authorities of the system).

    VERIFY_X509_STRICT, the default since Python 3.13, is off: it refuses cluster CAs without key identifiers (EKS has such).

    Raises:
        OSError, ValueError: a certificate or key is not usable.
    """
    cadata = authority.decode("ascii", "ignore") if authority is not None else None
    context = ssl.create_default_context(cadata=cadata)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if certificate is not None:
        _load_certificate(context, certificate)
    return context


def _load_certificate(context: ssl.SSLContext, certificate: ClientCertificate) -> None:
    """Load a key. `ssl` needs a path: that of a file in memory where the system has them, so that no disk holds the key."""
    content = certificate.chain.rstrip() + b"\n" + certificate.key
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("client-certificate", os.MFD_CLOEXEC)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            context.load_cert_chain(f"/proc/self/fd/{descriptor}", password="")  # so that it never asks on a terminal
        return
    with tempfile.NamedTemporaryFile(mode="wb") as temporary:  # mode 0600, removed on leaving
        temporary.write(content)
        temporary.flush()
        context.load_cert_chain(temporary.name, password="")
