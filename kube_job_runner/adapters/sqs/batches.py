"""The limits of one request to SQS: ten entries, their total bytes, and the characters that a body may have."""

import re
from collections.abc import Iterator, Sequence
from typing import TypeVar

from kube_job_runner.domain.errors import PermanentError

ENTRIES_MAX = 10
BODY_MAX_BYTES = 256 * 1024
"""Our limit for a body and for a request. SQS takes 1 MiB since August 2025; before that, and on some clones, 256 KiB."""
SQS_MAX_BYTES = 1024 * 1024

T = TypeVar("T")

# SQS takes the characters of XML 1.0. JSON can hold three kinds of other characters raw, and only inside strings.
_REFUSED = re.compile("[\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def tens(entries: Sequence[T]) -> Iterator[Sequence[T]]:
    """Cut a sequence into requests of ten."""
    for start in range(0, len(entries), ENTRIES_MAX):
        yield entries[start : start + ENTRIES_MAX]


def by_size(entries: Sequence[T], sizes: Sequence[int]) -> Iterator[list[T]]:
    """Cut a sequence into requests of at most ten entries and `BODY_MAX_BYTES`; no single entry may be larger."""
    batch: list[T] = []
    batch_bytes = 0
    for entry, size_bytes in zip(entries, sizes, strict=True):
        if batch and (len(batch) == ENTRIES_MAX or batch_bytes + size_bytes > BODY_MAX_BYTES):
            yield batch
            batch, batch_bytes = [], 0
        batch.append(entry)
        batch_bytes += size_bytes
    if batch:
        yield batch


def as_text(body: bytes, *, max_bytes: int = BODY_MAX_BYTES) -> str:
    """Return the JSON body of a message as SQS takes it: the same document, with escapes for the characters that SQS refuses.

    Raises:
        PermanentError: it is too large, empty, or not UTF-8.
    """
    if len(body) > max_bytes:
        raise PermanentError(
            f"a message of {len(body):,} bytes is not sent: the limit is {max_bytes:,}, and a message holds ids and"
            " facts of one object only"
        )
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise PermanentError(f"a message cannot be sent, because it is not UTF-8: {error}") from error
    if not text:
        raise PermanentError("an empty message cannot be sent")
    return _REFUSED.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def plain(text: str, *, max_characters: int) -> str:
    """Return a text for a message attribute: without the characters that SQS refuses, and not empty."""
    shown = "".join(character if _allowed(character) else "\N{REPLACEMENT CHARACTER}" for character in text)
    return shown[:max_characters] or "-"


def _allowed(character: str) -> bool:
    return character in "\t\n\r" or (character >= " " and not _REFUSED.match(character))
