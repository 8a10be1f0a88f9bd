"""`kjr doctor`: what it finds on a real PostgreSQL, and on an API server that answers as told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kube_job_runner.adapters import postgres
from kube_job_runner.adapters.kubernetes import cluster_checks
from kube_job_runner.adapters.kubernetes.answers import Answer
from kube_job_runner.adapters.postgres import Postgres
from kube_job_runner.bootstrap.components import BY_NAME
from kube_job_runner.bootstrap.doctor_checks import check_identity
from kube_job_runner.cli import main
from kube_job_runner.domain.errors import TemporaryError
from kube_job_runner.ports import ClusterIdentity
from tests.support.postgres import execute


@pytest.mark.asyncio
async def test_a_database_that_is_well(pg: Postgres, database_url: str) -> None:
    found = await postgres.run_checks(database_url)
    assert [result.level for result in found] == ["ok"] * 5, found
    assert [result.name for result in found] == [
        "database", "schema", "clock of the database", "database rights", "queue",
    ]  # fmt: skip


@pytest.mark.asyncio
async def test_a_schema_that_is_behind_and_a_queue_that_is_late(pg: Postgres, database_url: str) -> None:
    await execute(database_url, "INSERT INTO messages (body, available_at) VALUES ('', now() - interval '10 minutes')")
    (queue,) = [result for result in await postgres.run_checks(database_url) if result.name == "queue"]
    assert (queue.level, queue.text) == ("warn", "the oldest message has waited for 600 s")
    await execute(database_url, "DELETE FROM messages")
    dead = "INSERT INTO dead_letters (message_id, sent_at, deliveries, priority, body, error) VALUES (1, now(), 1, 1, '', '')"
    await execute(database_url, dead)
    (queue,) = [result for result in await postgres.run_checks(database_url) if result.name == "queue"]
    assert (queue.level, queue.text) == ("warn", "1 dead letters")
    await execute(database_url, "DELETE FROM schema_migrations WHERE number > 1")
    (schema,) = [result for result in await postgres.run_checks(database_url) if result.name == "schema"]
    assert (schema.level, schema.remedy) == ("fail", "run `kjr migrate`")


@pytest.mark.asyncio
async def test_a_database_that_is_not_there() -> None:
    (only,) = await postgres.run_checks("postgresql://kjr@127.0.0.1:1/kjr")
    assert (only.name, only.level) == ("database", "fail")
    assert "KJR_DATABASE_URL" in only.remedy


class ApiServer:
    """`Client`, as far as a diagnosis asks; `denied` are verb and resource."""

    def __init__(self, *, minor: str = "36", denied: tuple[tuple[str, str], ...] = (), away: bool = False) -> None:
        self.minor = minor
        self.denied = denied
        self.away = away
        self.asked: list[dict[str, Any]] = []

    async def request(self, method: str, target: str, *, action: str, body: bytes | None = None) -> Answer:
        if self.away:
            raise TemporaryError("the API server does not answer")
        if target == "/version":
            version = {"major": "1", "minor": self.minor, "gitVersion": f"v1.{self.minor}.0"}
            return Answer(200, json.dumps(version).encode())
        assert (method, target) == ("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews")
        attributes = json.loads(body or b"")["spec"]["resourceAttributes"]
        self.asked.append(attributes)
        allowed = (attributes["verb"], attributes["resource"]) not in self.denied
        return Answer(201, json.dumps({"status": {"allowed": allowed}}).encode())


async def run_checks(server: ApiServer, *components: str) -> list[tuple[str, str, str]]:
    uses = {name: BY_NAME[name].cluster for name in components}
    found = await cluster_checks.run_checks(server, namespaces=["jobs"], uses=uses)  # type: ignore[arg-type]
    return [(result.name, result.level, result.text) for result in found]


@pytest.mark.asyncio
async def test_the_rights_of_the_components_are_asked_for_and_no_others() -> None:
    server = ApiServer()
    assert await run_checks(server, "log-collector") == [
        ("cluster", "ok", "Kubernetes v1.36.0"),
        ("rights in jobs", "ok", "all 1 that log-collector need"),
    ]
    assert server.asked == [{"namespace": "jobs", "verb": "get", "group": "", "resource": "pods", "subresource": "log"}]


@pytest.mark.asyncio
async def test_rights_that_lack_and_a_cluster_that_is_old_or_away() -> None:
    found = await run_checks(ApiServer(minor="24+", denied=(("delete", "jobs"),)), "sweeper", "messages-processor")
    assert [level for _, level, _ in found] == ["warn", "fail"]
    assert found[1][2] == "we may not delete jobs"
    assert await run_checks(ApiServer(away=True), "sweeper") == [("cluster", "fail", "the API server does not answer")]


def test_the_command_ends_with_what_it_found(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("KJR_DATABASE_URL", "postgresql://kjr:pa55word@127.0.0.1:1/kjr")
    monkeypatch.setenv("KJR_CLUSTER", "local")
    monkeypatch.setenv("KJR_PROT", "1")
    assert main.run(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "[!]settings: KJR_PROT is unknown (did you mean KJR_PORT?)" in out
    assert "[-]database: " in out
    assert "   to do: check KJR_DATABASE_URL" in out
    assert "[+]cluster: jobs are local" in out
    assert "pa55word" not in out
    monkeypatch.setenv("KJR_CLUSTER", "kubernetes")
    monkeypatch.setenv("KJR_KUBECONFIG", str(tmp_path / "missing"))
    assert main.run(["doctor", "sweeper"]) == 1
    assert "[-]cluster: " in capsys.readouterr().out
    assert main.run(["doctor", "web-server"]) == 1
    assert "cluster" not in capsys.readouterr().out, "the web server has no business there"
    assert main.run(["doctor", "nobody"]) != 0


class Identified:
    """A cluster with an identity."""

    def __init__(self, found: ClusterIdentity | Exception | None) -> None:
        self.found = found

    async def identity(self) -> ClusterIdentity | None:
        if isinstance(self.found, Exception):
            raise self.found
        return self.found


@pytest.mark.asyncio
async def test_the_cluster_is_compared_with_the_one_of_the_database(pg: Postgres, database_url: str) -> None:
    one, other = (ClusterIdentity(kind="kubernetes", evidence="namespace kube-system", uid=uid) for uid in ("a", "b"))
    assert (await check_identity(Identified(one), await postgres.bound_clusters(database_url))).level == "ok"
    await pg.observe_store.bind_cluster(one)
    bound = await postgres.bound_clusters(database_url)
    levels = [(await check_identity(Identified(found), bound)).level for found in (one, other, None, TemporaryError())]
    assert levels == ["ok", "fail", "warn", "fail"]
