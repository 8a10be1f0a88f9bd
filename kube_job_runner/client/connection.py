"""Finds the server and the token: in the arguments, in KJR_SERVER and KJR_TOKEN, or in the file that `kjr up` writes.

The file is `<data dir>/connection.json`, `{"url": ..., "token": ...}`, and only its owner can read it. The data directory is
KJR_DATA_DIR, or the same XDG default as in the settings of the server.
"""

import ipaddress
import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from kube_job_runner.client import errors

FILE_NAME = "connection.json"


class Connection(msgspec.Struct, frozen=True):
    """The base URL of a server, and the bearer token for it (None: no token is sent)."""

    url: str
    token: str | None = None

    @property
    def loopback(self) -> bool:
        """Whether the server is on this machine. Proxies of the environment are not used for it."""
        host = urlsplit(self.url).hostname or ""
        try:
            return host == "localhost" or ipaddress.ip_address(host).is_loopback
        except ValueError:
            return False


def data_dir(environ: Mapping[str, str] | None = None) -> Path:
    """Return the folder in which `kjr up` keeps its state."""
    environ = os.environ if environ is None else environ
    if environ.get("KJR_DATA_DIR"):
        return Path(environ["KJR_DATA_DIR"]).expanduser()
    home = environ.get("XDG_DATA_HOME")
    return (Path(home) if home else Path.home() / ".local" / "share") / "kube-job-runner"


def discover(
    url: str | None = None, token: str | None = None, *, environ: Mapping[str, str] | None = None
) -> Connection:
    """Return the connection to use. The token of the file is only used for the server of the file.

    Raises:
        NotConfigured: no server is known, or its URL is invalid.
    """
    environ = os.environ if environ is None else environ
    named = url or environ.get("KJR_SERVER")
    token = token or environ.get("KJR_TOKEN")
    found = read_file(data_dir(environ) / FILE_NAME)
    if named is None:
        if found is None:
            raise errors.NotConfigured
        return Connection(check_url(found.url), token or found.token)
    checked = check_url(named)
    if token is None and found is not None and found.url.rstrip("/") == checked:
        token = found.token
    return Connection(checked, token)


def read_file(path: Path) -> Connection | None:
    """Return the connection of the file, or None if the file is missing or invalid."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Connection)
    except (OSError, msgspec.MsgspecError):
        return None


def check_url(url: str) -> str:
    """Return the URL without its trailing slash.

    Raises:
        NotConfigured: it is not an http or https URL with a host, or it holds a password.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise errors.NotConfigured(f"the server URL {url!r} is invalid: {error}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise errors.NotConfigured(f"the server URL {url!r} is invalid: it must look like https://host:port")
    if parts.username or parts.password:
        raise errors.NotConfigured("the server URL must not hold a user or password; use KJR_TOKEN")
    return url.rstrip("/")
