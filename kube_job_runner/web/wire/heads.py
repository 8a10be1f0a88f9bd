"""Heads: what a request must have before anything looks at it. A head that two readers could read in two ways is refused.

Source: RFC 9112, sections 3.2 (Host), 6.1 (Transfer-Encoding), 11.2 (request smuggling); RFC 9110, section 7.2. The parser
(llhttp, strict) refuses the rest: both lengths, folded lines, blanks before a colon, line feeds without a carriage return.
"""

import re
from collections.abc import Sequence

from kube_job_runner.web.kit.problems import HTTP_VERSION, MALFORMED_REQUEST, RequestProblem

HEADERS_MAX = 128
HEAD_MAX_BYTES = 64 * 1024
_HOST = re.compile(rb"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
_ONCE = frozenset({b"host", b"authorization", b"content-type", b"idempotency-key"})


def check(version: str, method: bytes, target: bytes, headers: Sequence[tuple[bytes, bytes]]) -> None:
    """Check the head of a request; the names of `headers` are in lower case.

    Raises:
        RequestProblem: 400 or 505. The connection must then be closed.
    """
    if version not in ("1.0", "1.1"):
        raise RequestProblem(HTTP_VERSION, f"HTTP/{version} is not spoken here; use HTTP/1.1")
    if method == b"CONNECT":
        raise RequestProblem(MALFORMED_REQUEST, "this server is no proxy")
    seen: dict[bytes, bytes] = {}
    for name, value in headers:
        if name in seen and name in _ONCE:
            raise RequestProblem(MALFORMED_REQUEST, f"the header {name.decode()} is given more than once")
        seen[name] = value
    if version == "1.0" and b"transfer-encoding" in seen:
        raise RequestProblem(MALFORMED_REQUEST, "HTTP/1.0 has no Transfer-Encoding")
    _check_host(version, target, seen.get(b"host"))


def _check_host(version: str, target: bytes, host: bytes | None) -> None:
    if host is None:
        if version == "1.1":
            raise RequestProblem(MALFORMED_REQUEST, "the header Host is missing")
    elif not _HOST.fullmatch(host):
        raise RequestProblem(MALFORMED_REQUEST, "the header Host is not a name or an address with an optional port")
    scheme, found, rest = target.partition(b"://")
    if found and b"/" not in scheme:
        authority = rest.partition(b"/")[0].partition(b"?")[0]
        if host is not None and authority.lower() != host.lower():
            raise RequestProblem(MALFORMED_REQUEST, "the target of the request and the header Host name two hosts")
