"""Origins: which requests a browser may send for a page that is not ours.

Without a token, the address of a request is its only right. A page in the browser of somebody on this machine can send
requests to loopback: directly (cross-site), or under a name of its own that it lets lead to 127.0.0.1 (DNS rebinding). A browser
cannot change `Host`, `Origin` and `Sec-Fetch-Site`; so these are checked. Sources: Fetch Metadata (W3C), RFC 6454.
"""

import ipaddress
from collections.abc import Collection, Mapping

from kube_job_runner.web.kit.problems import FOREIGN_HOST, FOREIGN_ORIGIN, RequestProblem


class Gate:
    """What a server accepts. `hosts` are names and addresses, with a port or without; one without a port allows every port.

    With `loopback` the names and addresses of this machine are allowed too, and pages of other origins are refused. Without it
    every address is allowed, for the metrics of a pod: only a name can be made to lead elsewhere.
    """

    def __init__(self, hosts: Collection[str] = (), *, loopback: bool) -> None:
        self._hosts = frozenset(_normal(host) for host in hosts)
        self._loopback = loopback
        self._open = not hosts and not loopback
        self._good: dict[bytes, bool] = {}

    def check(self, headers: Mapping[bytes, bytes], *, data: bool) -> None:
        """Check a request. `data` says that it reads or changes something that belongs to somebody.

        Raises:
            RequestProblem: 421 for a foreign host, 403 for a page of another origin.
        """
        if self._open:
            return
        host = headers.get(b"host", b"")
        if not self._known(host):
            shown = ascii(host.decode("latin-1"))[1:-1][:100] or "missing"
            raise RequestProblem(FOREIGN_HOST, f"the header Host is {shown}; see KJR_ALLOWED_HOSTS")
        if not (data and self._loopback):
            return
        site = headers.get(b"sec-fetch-site", b"none").strip().lower()
        if site not in (b"none", b"same-origin"):
            raise RequestProblem(FOREIGN_ORIGIN, "a page of another site sent this request")
        origin = headers.get(b"origin")
        if origin is not None and not _same(origin, host):
            shown = ascii(origin.decode("latin-1"))[1:-1][:100]
            raise RequestProblem(FOREIGN_ORIGIN, f"a page of {shown} sent this request")

    def _known(self, host: bytes) -> bool:
        known = self._good.get(host)
        if known is None:
            known = self._allows(host.decode("latin-1"))
            if len(self._good) < 100:
                self._good[host] = known
        return known

    def _allows(self, host: str) -> bool:
        normal = _normal(host)
        name = bare(normal)
        if normal in self._hosts or name in self._hosts:
            return True
        return is_loopback(name) if self._loopback else _is_address(name)


def is_loopback(host: str) -> bool:
    """Return whether a name or an address, without a port, can be reached only from this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def bare(host: str) -> str:
    """Return a host without its port."""
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0]


def _normal(host: str) -> str:
    lowered = host.strip().lower()
    name = bare(lowered)
    return name.removesuffix(".") + lowered[len(name) :]


def _same(origin: bytes, host: bytes) -> bool:
    scheme, found, authority = origin.decode("latin-1").strip().lower().partition("://")
    return bool(found) and scheme in ("http", "https") and _normal(authority) == _normal(host.decode("latin-1"))
