"""Certificates for tests, made by openssl at the time of the test."""

from __future__ import annotations

import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path


def _openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


@dataclass(kw_only=True)
class Authority:
    """A certificate authority without key identifiers, as EKS has them: VERIFY_X509_STRICT refuses what it signs."""

    folder: Path

    @classmethod
    def make(cls, folder: Path) -> Authority:
        """Make an authority in a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        config = folder / "ca.cnf"
        config.write_text(
            "[req]\ndistinguished_name=dn\nx509_extensions=ext\nprompt=no\n[dn]\nCN=test-ca\n"
            "[ext]\nbasicConstraints=critical,CA:TRUE\nsubjectKeyIdentifier=none\nauthorityKeyIdentifier=none\n"
        )
        _openssl("ecparam", "-genkey", "-name", "prime256v1", "-noout", "-out", folder / "ca.key")
        _openssl(
            "req",
            "-x509",
            "-new",
            "-key",
            folder / "ca.key",
            "-days",
            "30",
            "-config",
            config,
            "-out",
            folder / "ca.crt",
        )
        return cls(folder=folder)

    @property
    def certificate(self) -> Path:
        """The authority's own certificate."""
        return self.folder / "ca.crt"

    def sign(self, name: str, *, alternative_names: str = "IP:127.0.0.1") -> tuple[Path, Path]:
        """Return a certificate and its key, for a server or a client called `name`."""
        certificate, key, request = (self.folder / f"{name}.{end}" for end in ("crt", "key", "csr"))
        extensions = self.folder / f"{name}.ext"
        extensions.write_text(f"subjectAltName={alternative_names}\nsubjectKeyIdentifier=none\n")
        _openssl("ecparam", "-genkey", "-name", "prime256v1", "-noout", "-out", key)
        _openssl("req", "-new", "-key", key, "-subj", f"/CN={name}", "-out", request)
        _openssl(
            *("x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self.folder / "ca.key"),
            *("-CAcreateserial", "-days", "30", "-extfile", extensions, "-out", certificate),
        )
        return certificate, key

    def server_context(self, *, alternative_names: str = "IP:127.0.0.1", ask_client: bool = False) -> ssl.SSLContext:
        """Return a server's context with a certificate of this authority; `ask_client` demands a client certificate."""
        certificate, key = self.sign("server", alternative_names=alternative_names)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        if ask_client:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self.certificate)
        return context
