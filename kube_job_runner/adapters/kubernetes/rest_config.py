"""The configuration of a connection as plain values: the address of a cluster, and our identity there.

Certificates and keys are kept as sources and not as bytes, because their files rotate while we run.
"""

import contextlib
import ipaddress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from kube_job_runner.domain.errors import ConfigurationError
from kube_job_runner.settings import KubernetesEnvironment


class Pem(msgspec.Struct, frozen=True, kw_only=True):
    """PEM text, given inline (`data`) or as a file that may be replaced at any time. `data` wins, as in client-go."""

    data: bytes | None = None
    file: Path | None = None

    def read(self) -> bytes:
        """Return the PEM bytes as they are now.

        Raises:
            OSError: the file cannot be read.
        """
        if self.data is not None:
            return self.data
        return self.file.read_bytes() if self.file is not None else b""

    def __repr__(self) -> str:
        return f"Pem({self.file or 'inline'})"


class ExecConfig(msgspec.Struct, frozen=True, kw_only=True):
    """A credential plugin (`users[].user.exec`): the command that prints an ExecCredential."""

    command: str
    api_version: str
    args: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    install_hint: str = ""
    provide_cluster_info: bool = False
    cluster_config: Any = None
    """The cluster's extension `client.authentication.k8s.io/exec`, passed to the plugin unchanged."""

    def __repr__(self) -> str:
        return f"ExecConfig({self.command})"


class UserConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Our identity. It may combine several means, for example a client certificate and a token."""

    token: str | None = None
    token_file: Path | None = None
    username: str | None = None
    password: str | None = None
    client_certificate: Pem | None = None
    client_key: Pem | None = None
    exec_plugin: ExecConfig | None = None

    def __repr__(self) -> str:
        given = [name for name in self.__struct_fields__ if getattr(self, name) is not None]
        return f"UserConfig({', '.join(given)})"


class ConnectionConfig(msgspec.Struct, frozen=True, kw_only=True):
    """One cluster, as one user. `origin` is where the configuration comes from, for error messages."""

    server: str
    user: UserConfig = UserConfig()
    certificate_authority: Pem | None = None
    insecure_skip_tls_verify: bool = False
    tls_server_name: str | None = None
    proxy_url: str | None = None
    origin: str = ""


_PROXY_SCHEMES = ("http", "https")


def checked(config: ConnectionConfig) -> ConnectionConfig:
    """Return the configuration after checking it.

    Raises:
        ConfigurationError: an address is no URL, or options exclude each other.
    """
    server = urlsplit(config.server)
    if server.scheme not in ("http", "https") or not server.hostname:
        raise ConfigurationError(f"{config.origin}: server {config.server!r} is not an http(s) URL")
    if config.insecure_skip_tls_verify and config.certificate_authority is not None:
        raise ConfigurationError(
            f"{config.origin}: insecure-skip-tls-verify and a certificate authority exclude each other"
        )
    if (config.user.client_certificate is None) != (config.user.client_key is None):
        raise ConfigurationError(f"{config.origin}: a client certificate needs its key, and a key its certificate")
    if config.proxy_url is not None and urlsplit(config.proxy_url).scheme not in _PROXY_SCHEMES:
        raise ConfigurationError(f"{config.origin}: proxy-url must be http:// or https://")
    return config


def in_cluster(environment: KubernetesEnvironment) -> ConnectionConfig | None:
    """Return the configuration of a pod with a service account, or None if this is no such pod.

    Source: the environment variables and files of every pod (kubernetes.io, "Accessing the API from a Pod").
    """
    folder = environment.service_account_dir
    token_file = folder / "token"
    if not environment.service_host or not token_file.is_file():
        return None
    host = environment.service_host
    if ":" in host and not host.startswith("["):
        host = f"[{host}]"
    return ConnectionConfig(
        server=f"https://{host}:{environment.service_port}",
        user=UserConfig(token_file=token_file),
        certificate_authority=Pem(file=folder / "ca.crt"),
        origin="in-cluster service account",
    )


def environment_proxy(server: str, environment: KubernetesEnvironment) -> str | None:
    """Return the proxy for `server` by HTTPS_PROXY, HTTP_PROXY and NO_PROXY, or None."""
    parts = urlsplit(server)
    proxy = environment.https_proxy if parts.scheme == "https" else environment.http_proxy
    if not proxy or not parts.hostname or parts.hostname in ("localhost", "127.0.0.1", "::1"):
        return None
    if _bypassed(parts.hostname, environment.no_proxy):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def _bypassed(host: str, no_proxy: str) -> bool:
    """Return whether NO_PROXY names the host, as Go reads it: `*`, a domain with its subdomains, an address or a network."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        address = None
    for entry in (part.strip().lower() for part in no_proxy.split(",")):
        if entry == "*":
            return True
        if address is not None and entry:
            with contextlib.suppress(ValueError):
                if address in ipaddress.ip_network(entry, strict=False):
                    return True
        domain = entry.removeprefix("*").removeprefix(".").partition(":")[0]
        if domain and (host == domain or host.endswith("." + domain)):
            return True
    return False
