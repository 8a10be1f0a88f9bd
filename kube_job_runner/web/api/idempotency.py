"""The `Idempotency-Key` header: how it is read, and how it becomes the keys of single jobs.

The header is that of draft-ietf-httpapi-idempotency-key-header: a structured-field string, in quotes; a bare value is
taken as well, as most clients send it so.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

from kube_job_runner.web.kit.operations import Header
from kube_job_runner.web.kit.problems import MALFORMED_HEADER, RequestProblem
from kube_job_runner.web.validation.fault import Fault

KEY_MAX_LENGTH = 255
_PRINTABLE = re.compile(rb"[\x20-\x7e]{1,255}")
_QUOTED = re.compile(rb'"((?:[\x20-\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"')

KEY_HEADER = Header(
    name="Idempotency-Key",
    description="1 to 255 printable ASCII characters, bare or as a quoted string (RFC 9651). The same key with the same body"
    " gives the first answer again, with `Idempotency-Replayed: true`; with another body it is refused. Keys are kept for"
    " 7 days unless configured otherwise.",
    schema={"type": "string", "minLength": 1, "maxLength": KEY_MAX_LENGTH, "pattern": r"^[!#-~]([ -~]*[!-~])?$(?!\n)"},
)
REPLAYED_HEADER = Header(
    name="Idempotency-Replayed",
    description="`true` when the answer is that of an earlier request with the same key.",
    schema={"type": "string", "enum": ["true"]},
)


def read_key(headers: Mapping[bytes, bytes]) -> str | None:
    """Return the idempotency key of a request, or None when it has none.

    Raises:
        RequestProblem: 400, the header is not in its grammar.
    """
    given = headers.get(b"idempotency-key")
    if given is None:
        return None
    text: bytes = given.strip()
    if text.startswith(b'"'):
        match = _QUOTED.fullmatch(text)
        text = re.sub(rb"\\(.)", rb"\1", match[1]) if match else b""
    if not _PRINTABLE.fullmatch(text):
        detail = f"must be 1 to {KEY_MAX_LENGTH} printable ASCII characters, bare or in double quotes"
        fault = Fault("/Idempotency-Key", detail, "header")
        raise RequestProblem(MALFORMED_HEADER, f"Idempotency-Key {detail}", faults=[fault])
    return text.decode("ascii")


def job_key(key: str) -> str:
    """Return the stored key of a single submit; batches have a space of their own."""
    return f"job:{key}"


def rerun_key(key: str) -> str:
    """Return the stored key of a rerun."""
    return f"rerun:{key}"


def item_key(key: str, index: int) -> str:
    """Return the stored key of one job of a batch."""
    return f"batch:{index}:{key}"


def item_hash(body_hash: bytes, index: int) -> bytes:
    """Return the request hash of one job of a batch: any difference anywhere in the batch makes it another one."""
    return hashlib.sha256(body_hash + index.to_bytes(4, "big")).digest()
