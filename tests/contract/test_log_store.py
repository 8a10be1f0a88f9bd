"""`LogStore`: on PostgreSQL alone, and with its bodies in an object store."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kube_job_runner.adapters import object_store, postgres
from kube_job_runner.domain.errors import ConfigurationError, TemporaryError
from kube_job_runner.domain.logs.assembler import Assembler
from kube_job_runner.domain.logs.chunks import decode_body
from kube_job_runner.domain.logs.stamps import Piece
from kube_job_runner.ports import LogKey, LogWrite
from tests.support.postgres import execute

STAMP = 1_768_469_000_000_000_000


@pytest.fixture(scope="module")
def s3_server() -> Iterator[str]:
    """The address of a real S3-compatible server process (moto's), with a bucket in it."""
    pytest.importorskip("moto")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = int(listener.getsockname()[1])
    command = [sys.executable, "-m", "moto.server", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    import boto3  # type: ignore[import-not-found, import-untyped, unused-ignore]

    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        client = boto3.client(
            "s3", endpoint_url=url, region_name="us-east-1", aws_access_key_id="k", aws_secret_access_key="s"
        )
        client.create_bucket(Bucket="logs")
        yield url
    finally:
        process.terminate()
        process.wait()


@pytest.fixture(params=["postgres", "memory", "file", "s3"])
def logs(request: pytest.FixtureRequest, pg: postgres.Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A store of logs."""
    if request.param == "postgres":
        return pg.logs
    pytest.importorskip("obstore")
    if request.param == "s3":
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "k")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
        bodies = object_store.connect(
            "s3://logs/some/prefix", endpoint=request.getfixturevalue("s3_server"), region="us-east-1"
        )
    else:
        bodies = object_store.connect("memory:///" if request.param == "memory" else f"file://{tmp_path}")
    return object_store.ObjectLogs(pg.logs, bodies)


async def leased(url: str, logs: Any, token: uuid.UUID) -> LogKey:
    """Put an ended attempt on the list and lease it."""
    job_id = uuid.uuid4()
    await execute(
        url,
        f"INSERT INTO jobs (id, created_at, due_at, version, attempt, priority, state, name, queue, namespace, owner,"
        f" finished_at) VALUES ('{job_id}', now(), now(), 1, 1, 0, 'succeeded', 'n', 'q', 'ns', '', now())",
        f"INSERT INTO attempts (job_id, number, namespace, cluster_name, pod_name, decided_at, started_at)"
        f" VALUES ('{job_id}', 1, 'ns', 'c', 'p', now(), now())",
        f"INSERT INTO attempt_logs (job_id, attempt) VALUES ('{job_id}', 1)",
    )
    [work] = await claim(logs, token)
    assert (work.key, work.ended, work.pod_name) == ((job_id, 1), True, "p")
    return (job_id, 1)


async def claim(logs: Any, token: uuid.UUID) -> Any:
    return await logs.claim(token=token, lease_seconds=60, ended_limit=10, follow_limit=10, follow_after_seconds=600)


async def put(logs: Any, key: LogKey, token: uuid.UUID, assembler: Assembler, **more: Any) -> bool:
    chunks, dropped = assembler.take(final="status" in more)
    write = LogWrite(key=key, chunks=tuple(chunks), drop=tuple((assembler.container, seq) for seq in dropped), **more)
    return key in await logs.append([write], token=token, cleanup_delay_seconds=0)


async def whole(logs: Any, key: LogKey, container: str = "main") -> bytes:
    chunks = await logs.read_chunks(key, container, from_seq=0, limit=1000)
    return b"".join(decode_body(chunk.data).content for chunk in chunks if chunk.data is not None)


@pytest.mark.asyncio
async def test_what_was_stored_is_read_back_and_gone_on_from(logs: Any, database_url: str) -> None:
    token = uuid.uuid4()
    key = await leased(database_url, logs, token)
    lines = [Piece(STAMP + n, b"line %d \x00\xff\n" % n) for n in range(100)]
    assembler = Assembler("main", max_bytes=2**20, chunk_bytes=256)
    before = await logs.log_state(key)
    assembler.feed(lines[:50])
    assert await put(logs, key, token, assembler)
    state = await logs.log_state(key)
    assert state.version > before.version
    assert await logs.log_versions([key, (uuid.uuid4(), 1)]) == {key: state.version}
    stored = await logs.stored(key, "main")
    again = Assembler("main", max_bytes=2**20, chunk_bytes=256)
    again.restore(stored.chunks, stored.last)
    assert await logs.stamps_since(key, "main", STAMP + 45) == [STAMP + n for n in range(45, 50)]
    again.feed(lines[50:])
    assert await put(logs, key, token, again, status="stored")
    assert await whole(logs, key) == b"".join(line.data for line in lines)
    [container] = await logs.containers(key)
    assert (container.container, container.lines) == ("main", 100)
    seq = await logs.find_chunk(key, "main", line=60)
    [chunk] = await logs.read_chunks(key, "main", from_seq=seq, limit=1)
    assert chunk.first_line <= 60 < chunk.first_line + chunk.lines
    assert await logs.find_chunk(key, "main", stamp=STAMP + 1000) == 0
    assert (await logs.log_state(key)).status == "stored"
    assert await claim(logs, uuid.uuid4()) == []


@pytest.mark.asyncio
async def test_what_the_cap_leaves_out_is_removed(logs: Any, database_url: str) -> None:
    token = uuid.uuid4()
    key = await leased(database_url, logs, token)
    assembler = Assembler("main", max_bytes=4096, chunk_bytes=512)
    for number in range(100):
        assembler.feed([Piece(STAMP, b"%0255d\n" % number)])
        assert await put(logs, key, token, assembler)
    assert await put(logs, key, token, assembler, status="stored")
    text = await whole(logs, key)
    assert len(text) <= 4096
    assert text.startswith(b"%0255d\n" % 0)
    assert text.endswith(b"%0255d\n" % 99)
    marks = [chunk for chunk in await logs.read_chunks(key, "main", from_seq=0, limit=100) if chunk.mark]
    assert [mark.size_bytes + len(text) for mark in marks] == [25_600]


@pytest.mark.asyncio
async def test_who_lost_the_lease_stores_nothing(logs: Any, database_url: str) -> None:
    token, other = uuid.uuid4(), uuid.uuid4()
    key = await leased(database_url, logs, token)
    assembler = Assembler("main", max_bytes=4096)
    assembler.feed([Piece(STAMP, b"x\n")])
    await logs.release([key], token=token, delay_seconds=0)
    assert [work.key for work in await claim(logs, other)] == [key]
    assert await claim(logs, uuid.uuid4()) == []
    assert not await put(logs, key, token, assembler)
    assert await logs.renew([key], token=token, lease_seconds=60) == []
    assert [work.key for work in await logs.renew([key], token=other, lease_seconds=60)] == [key]
    assert await whole(logs, key) == b""


@pytest.mark.asyncio
async def test_old_logs_are_removed_in_bounded_batches(logs: Any, database_url: str) -> None:
    token = uuid.uuid4()
    key = await leased(database_url, logs, token)
    assembler = Assembler("main", max_bytes=2**20, chunk_bytes=64)
    assembler.feed([Piece(STAMP, b"%063d\n" % n) for n in range(10)])
    await put(logs, key, token, assembler, status="stored")
    assert await logs.delete_old_logs(older_than_seconds=3600, limit=4) == 0
    counts = [await logs.delete_old_logs(older_than_seconds=0, limit=4) for _ in range(4)]
    assert counts == [4, 4, 2, 0]
    assert await logs.containers(key) == []


@pytest.mark.asyncio
async def test_only_sealed_chunks_go_out_and_all_of_them_are_removed(pg: postgres.Postgres, tmp_path: Path) -> None:
    pytest.importorskip("obstore")
    logs = object_store.ObjectLogs(pg.logs, object_store.connect(f"file://{tmp_path}"))
    url = pg.url
    token = uuid.uuid4()
    key = await leased(url, logs, token)
    assembler = Assembler("main", max_bytes=2**20, chunk_bytes=64)
    assembler.feed([Piece(STAMP, b"%063d\n" % n) for n in range(3)] + [Piece(STAMP, b"open")])
    await put(logs, key, token, assembler)
    assert sum(len(files) for _, _, files in os.walk(tmp_path)) == 3
    await put(logs, key, token, assembler, status="stored")
    assert sum(len(files) for _, _, files in os.walk(tmp_path)) == 4
    assert [chunk.data for chunk in await pg.logs.read_chunks(key, "main", from_seq=0, limit=9)] == [None] * 4
    assert await logs.delete_old_logs(older_than_seconds=0, limit=100) == 4
    assert sum(len(files) for _, _, files in os.walk(tmp_path)) == 0


@pytest.mark.asyncio
async def test_a_store_that_is_away_is_a_temporary_error(pg: postgres.Postgres) -> None:
    pytest.importorskip("obstore")
    bodies = object_store.connect("memory:///")
    with pytest.raises(TemporaryError, match="no such object"):
        await bodies.get("missing")
    await bodies.delete(["missing"])


def test_a_wrong_url_is_refused_with_its_remedy() -> None:
    pytest.importorskip("obstore")
    with pytest.raises(ConfigurationError, match="must be `postgres` or a URL like s3://bucket/prefix"):
        object_store.connect("ftp://x/y")
