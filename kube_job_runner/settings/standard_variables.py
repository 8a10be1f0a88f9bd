"""Standard variables of the environment, which other programs read too: Kubernetes', AWS', OpenTelemetry's; and secrets."""

import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote

import msgspec

from kube_job_runner.settings import database_url
from kube_job_runner.settings.database_url import DatabaseUrl
from kube_job_runner.settings.groups import Settings


class KubernetesEnvironment(msgspec.Struct, frozen=True, kw_only=True):
    """What the Kubernetes adapter needs of the environment, under the names that Kubernetes itself uses.

    `variables` is the whole environment, for credential plugins, which inherit it; the repr leaves it out.
    """

    kubeconfig: str | None = None
    home: Path = Path("/")
    service_host: str = ""
    service_port: str = "443"
    service_account_dir: Path = Path("/var/run/secrets/kubernetes.io/serviceaccount")
    http_proxy: str = ""
    https_proxy: str = ""
    no_proxy: str = ""
    variables: Mapping[str, str] = {}

    def __repr__(self) -> str:
        return f"KubernetesEnvironment(kubeconfig={self.kubeconfig!r}, service_host={self.service_host!r})"


def kubernetes_environment(environ: Mapping[str, str] | None = None) -> KubernetesEnvironment:
    """Return what the Kubernetes adapter needs of the environment: KUBECONFIG, the service's address, proxies, HOME."""
    environ = os.environ if environ is None else environ

    def either(name: str) -> str:
        return environ.get(name.lower()) or environ.get(name) or ""

    return KubernetesEnvironment(
        kubeconfig=environ.get("KUBECONFIG") or None,
        home=Path(environ.get("HOME") or "~").expanduser(),
        service_host=environ.get("KUBERNETES_SERVICE_HOST", ""),
        service_port=environ.get("KUBERNETES_SERVICE_PORT") or "443",
        http_proxy=either("HTTP_PROXY"),
        https_proxy=either("HTTPS_PROXY"),
        no_proxy=either("NO_PROXY"),
        variables=dict(environ),
    )


_PLAIN = ("PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")


def plain_environment(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the variables that a child process of ours gets: what it needs to run, and no secret.

    On Linux every process of the same user can read the environment that a process was started with.
    """
    environ = os.environ if environ is None else environ
    return {name: environ[name] for name in _PLAIN if name in environ}


def aws_region(environ: Mapping[str, str] | None = None) -> str | None:
    """Return the region of `AWS_REGION`, which AWS sets in its own containers and its Python library does not read."""
    environ = os.environ if environ is None else environ
    return environ.get("AWS_DEFAULT_REGION") or environ.get("AWS_REGION") or None


def tracing_wanted(environ: Mapping[str, str] | None = None) -> bool:
    """Return whether the standard variables of OpenTelemetry ask for traces: a receiver is named, and nothing says no."""
    environ = os.environ if environ is None else environ
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    if environ.get("OTEL_TRACES_EXPORTER", "").strip().lower() == "none":
        return False
    return any(environ.get(name) for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"))


def tracing_protocol(environ: Mapping[str, str] | None = None) -> str:
    """Return the OTLP protocol that the environment asks for; we speak `http/protobuf`, which is also the default."""
    environ = os.environ if environ is None else environ
    names = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
    return next((value for name in names if (value := environ.get(name, "").strip())), "http/protobuf")


SECRET_VARIABLES = ("KJR_TOKEN", "PGPASSWORD", "PGSSLPASSWORD", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
SECRET_MIN_LENGTH = 5
"""A shorter value is left: it would be found in half of all words, and hides nothing from anybody who guesses."""


def secrets(settings: Settings, environ: Mapping[str, str] | None = None) -> frozenset[str]:
    """Return the secret values of our own configuration, as they are written and as they are meant: none belongs in a log."""
    environ = os.environ if environ is None else environ
    found = {environ.get(name, "") for name in SECRET_VARIABLES}
    for name in ("OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS"):
        values = [pair.partition("=")[2].strip() for pair in environ.get(name, "").split(",")]
        found |= {*values, *map(unquote, values)}
    url = settings.database.url
    if url is not None:
        found |= _secrets_of(url)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        password = environ.get(name, "").rpartition("@")[0].partition("://")[2].partition(":")[2]
        found |= {password, unquote(password)}
    return frozenset(value for value in found if len(value) >= SECRET_MIN_LENGTH)


def _secrets_of(url: str) -> frozenset[str]:
    try:
        return (url if isinstance(url, DatabaseUrl) else database_url.read(url)).secrets
    except ValueError:
        return frozenset({url})
