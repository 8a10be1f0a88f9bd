"""Log store with the bodies of chunks in an object store (S3 and compatible ones) and their index in PostgreSQL.

Each sealed chunk becomes one object that never changes. A chunk that still grows stays in its row: a log with one line a
second does not cost one request a second. An object is put before its row is committed. A crash between the two leaves an
object that the next commit of the same chunk overwrites, but never a row without its body.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any, Protocol, TypeVar
from urllib.parse import quote
from uuid import UUID

import msgspec

from kube_job_runner import ports
from kube_job_runner.domain.errors import ConfigurationError, TemporaryError
from kube_job_runner.domain.logs.chunks import Chunk, decode_body
from kube_job_runner.settings import masked

_CONCURRENCY = 16
_REQUEST_SECONDS = 30
T = TypeVar("T")


class Index(ports.LogCollectStore, ports.LogReader, Protocol):
    """The store of rows: a log store that also knows which chunks have a body outside of it."""

    async def chunks_since(self, key: ports.LogKey, container: str, stamp: int) -> list[Chunk]:
        """Return the chunks with lines that are not older than `stamp`."""
        ...

    async def take_old_chunks(
        self, *, older_than_seconds: float, limit: int
    ) -> list[tuple[ports.LogKey, str, int, bool]]:
        """Remove the chunks of jobs that ended that long ago; return which, and whether each may have a body outside."""
        ...

    async def take_expired(
        self, *, older_than_seconds: float, limit: int
    ) -> tuple[ports.LogsExpired, list[tuple[ports.LogKey, str, int, bool]]]:
        """Remove logs that were completed that long ago; return the counts, and their chunks as `take_old_chunks` does."""
        ...


class Bodies:
    """The objects of an object store. `where` names it in errors."""

    def __init__(self, store: Any, *, where: str) -> None:
        self._store = store
        self._where = where
        self._slots = asyncio.Semaphore(_CONCURRENCY)

    async def put(self, path: str, data: bytes) -> None:
        """Store an object; one of the same name is replaced.

        Raises:
            TemporaryError: the object store did not take it.
        """
        import obstore

        await self._try(lambda: obstore.put_async(self._store, path, data), f"storing {path}")

    async def get(self, path: str) -> bytes:
        """Return an object.

        Raises:
            TemporaryError: the object store did not return it.
        """
        import obstore

        async def read() -> bytes:
            answer = await obstore.get_async(self._store, path)
            return bytes(await answer.bytes_async())

        return await self._try(read, f"reading {path}")

    async def delete(self, paths: Sequence[str]) -> None:
        """Remove objects. A missing one counts as removed.

        Raises:
            TemporaryError: the object store does not answer.
        """
        import obstore

        if paths:
            await self._try(lambda: obstore.delete_async(self._store, list(paths)), f"deleting {len(paths)} objects")

    async def _try(self, act: Callable[[], Awaitable[T]], action: str) -> T:
        from obstore.exceptions import BaseError, NotFoundError

        async with self._slots:
            try:
                return await act()
            except (FileNotFoundError, NotFoundError):
                if action.startswith("deleting"):
                    return None  # type: ignore[return-value]  # a delete returns nothing
                raise TemporaryError(f"{self._where}: {action}: there is no such object", delay_seconds=5.0) from None
            except (BaseError, OSError, TimeoutError) as error:
                first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
                raise TemporaryError(f"{self._where}: {action}: {first[:300]}", delay_seconds=5.0) from None


class ObjectLogs:
    """`ports.LogCollectStore`, `ports.LogReader` and `ports.LogKeeper`, with the bodies of sealed chunks as objects."""

    def __init__(self, index: Index, bodies: Bodies) -> None:
        self._index = index
        self._bodies = bodies
        # These methods concern no bodies, so the index has them.
        self.claim, self.renew, self.release = index.claim, index.renew, index.release
        self.stored, self.containers, self.find_chunk = index.stored, index.containers, index.find_chunk
        self.log_state, self.want_log, self.log_versions = index.log_state, index.want_log, index.log_versions

    async def stamps_since(self, key: ports.LogKey, container: str, stamp: int) -> list[int]:
        found: list[int] = []
        for chunk in await self._index.chunks_since(key, container, stamp):
            data = (await self._with_data(key, chunk)).data
            assert data is not None
            found += [one for one in decode_body(data).stamps if one >= stamp]
        return found

    async def append(
        self, writes: Sequence[ports.LogWrite], *, token: UUID, cleanup_delay_seconds: float
    ) -> frozenset[ports.LogKey]:
        """Put the bodies of sealed chunks, commit the rows, and then remove the bodies that the cap leaves out."""
        outward = [(w.key, c) for w in writes for c in w.chunks if c.sealed and c.data is not None]
        await asyncio.gather(*(self._bodies.put(_path(key, c.container, c.seq), c.data or b"") for key, c in outward))
        rows = [msgspec.structs.replace(w, chunks=tuple(_row(chunk) for chunk in w.chunks)) for w in writes]
        held = await self._index.append(rows, token=token, cleanup_delay_seconds=cleanup_delay_seconds)
        await self._bodies.delete(
            [_path(w.key, container, seq) for w in writes if w.key in held for container, seq in w.drop]
        )
        return held

    async def read_chunks(self, key: ports.LogKey, container: str, *, from_seq: int, limit: int) -> list[Chunk]:
        chunks = await self._index.read_chunks(key, container, from_seq=from_seq, limit=limit)
        return list(await asyncio.gather(*(self._with_data(key, chunk) for chunk in chunks)))

    async def delete_old_logs(self, *, older_than_seconds: float, limit: int) -> int:
        """Remove rows first, then bodies.

        A crash between the two leaves bodies behind, so give the bucket a lifecycle rule beyond the retention.
        """
        taken = await self._index.take_old_chunks(older_than_seconds=older_than_seconds, limit=limit)
        await self._bodies.delete([_path(key, container, seq) for key, container, seq, outside in taken if outside])
        return len(taken)

    async def expire_logs(self, *, older_than_seconds: float, limit: int) -> ports.LogsExpired:
        expired, taken = await self._index.take_expired(older_than_seconds=older_than_seconds, limit=limit)
        await self._bodies.delete([_path(key, container, seq) for key, container, seq, outside in taken if outside])
        return expired

    async def _with_data(self, key: ports.LogKey, chunk: Chunk) -> Chunk:
        if chunk.data is not None or chunk.mark:
            return chunk
        data = await self._bodies.get(_path(key, chunk.container, chunk.seq))
        return msgspec.structs.replace(chunk, data=data)


def _row(chunk: Chunk) -> Chunk:
    return msgspec.structs.replace(chunk, data=None) if chunk.sealed else chunk


def _path(key: ports.LogKey, container: str, seq: int) -> str:
    job_id, attempt = key
    return f"{job_id}/{attempt}/{quote(container, safe='')}/{seq:08d}"


def connect(url: str, *, endpoint: str | None = None, region: str | None = None) -> Bodies:
    """Return the object store of a URL (`s3://bucket/prefix`, `file:///folder`, `memory:///`).

    Credentials come from where AWS's own tools find them: variables, web identity, instance role.

    Raises:
        ConfigurationError: obstore is not installed, or the URL is of an unknown kind.
    """
    try:
        from obstore.exceptions import BaseError
        from obstore.store import from_url
    except ImportError:
        raise ConfigurationError("KJR_LOG_STORE names an object store: install kube-job-runner[s3]") from None
    scheme = url.partition("://")[0]
    if scheme not in ("s3", "file", "memory"):
        raise ConfigurationError(f"KJR_LOG_STORE={masked(url)!r}: must be `postgres` or a URL like s3://bucket/prefix")
    options: dict[str, Any] = {}
    if scheme == "s3":
        if endpoint is not None:
            options |= {"endpoint": endpoint, "virtual_hosted_style_request": False}
        if region is not None:
            options["region"] = region
        options["client_options"] = {
            "timeout": timedelta(seconds=_REQUEST_SECONDS),
            "allow_http": endpoint is not None and endpoint.startswith("http://"),
        }
    try:
        return Bodies(from_url(url, **options), where=url)
    except (BaseError, ValueError) as error:
        raise ConfigurationError(f"KJR_LOG_STORE={masked(url)!r}: {str(error).replace(url, masked(url))}") from None
