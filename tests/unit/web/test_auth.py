"""Tokens: who gets in, what is remembered and for how long, and where nobody needs one."""

from __future__ import annotations

import asyncio
import re
import stat
from pathlib import Path

import pytest

from kube_job_runner.domain.errors import ConfigurationError, DatabaseUnavailable
from kube_job_runner.settings import load
from kube_job_runner.web import auth
from kube_job_runner.web.auth import check_exposure
from kube_job_runner.web.kit.origins import is_loopback
from tests.unit.web.conftest import World

PUBLIC = {
    "/livez",
    "/readyz",
    "/healthz",
    "/metrics",
    "/openapi.json",
    "/docs",
    "/",
    "/static/docs.js",
    "/static/docs.css",
    "/problems/{code}",
}


@pytest.mark.asyncio
async def test_every_route_but_the_public_ones_needs_a_token(world: World) -> None:
    walked = set()
    async with world.client(token=False) as client:
        for bound in world.app.app.operations:
            operation = bound.operation
            path = operation.path.replace("{id}", "0199d1f2-7c00-7a3b-8c4d-5e6f708192a3").replace("{code}", "not-found")
            response = await client.request(operation.method, path, content=b"not even JSON")
            walked.add(operation.path)
            if operation.path in PUBLIC:
                assert response.status_code in (200, 307), operation.path
                continue
            assert response.status_code == 401, operation.path
            assert response.json()["code"] == "unauthenticated"
            assert response.headers["www-authenticate"].startswith("Bearer ")
    assert walked > PUBLIC
    assert world.store.jobs == {}


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        "Basic a2pyOmtqcg==",
        "kjr_aaaaaaaa_" + "A" * 43,
        "Bearer kjr_aaaaaaaa_" + "A" * 43,
        "Bearer kjr_aaaaaaaa_" + "A" * 44,
        "Bearer kjr_" + "'; drop table tokens; --",
    ],
)
@pytest.mark.asyncio
async def test_a_wrong_header_is_refused(header: str, world: World) -> None:
    async with world.client(token=False) as client:
        response = await client.get("/v1/jobs", headers={"Authorization": header})
    assert response.status_code == 401
    assert world.secret not in response.text


@pytest.mark.asyncio
async def test_the_scheme_may_be_written_in_any_case(world: World) -> None:
    async with world.client(token=False) as client:
        for scheme in ("Bearer", "bearer", "BEARER"):
            response = await client.get("/v1/jobs", headers={"Authorization": f"{scheme} {world.secret}"})
            assert response.status_code == 200


@pytest.mark.asyncio
async def test_what_the_store_said_is_kept_for_five_seconds_and_not_longer(world: World) -> None:
    async with world.client() as client:
        for _ in range(10):
            assert (await client.get("/v1/jobs")).status_code == 200
        assert world.tokens.lookups == 1
        await world.tokens.revoke_token("tester")
        world.clock.seconds += auth.CACHE_SECONDS + 0.01
        assert (await client.get("/v1/jobs")).status_code == 401
        assert (await client.get("/v1/jobs")).status_code == 401
    assert world.tokens.lookups == 2


@pytest.mark.asyncio
async def test_many_requests_at_once_ask_the_store_once(world: World) -> None:
    async with world.client() as client:
        answers = await asyncio.gather(*(client.get("/v1/jobs") for _ in range(50)))
    assert {answer.status_code for answer in answers} == {200}
    assert world.tokens.lookups == 1


@pytest.mark.asyncio
async def test_the_memory_is_bounded(world: World) -> None:
    authenticator = auth.Authenticator(world.tokens, world.clock)
    for number in range(auth.CACHE_MAX + 10):
        await authenticator._name(number.to_bytes(32, "big"))
    assert len(authenticator._known) == auth.CACHE_MAX
    assert not authenticator._asking


@pytest.mark.asyncio
async def test_without_a_database_the_answer_is_not_a_refusal(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def find(_token_hash: bytes) -> None:
        raise DatabaseUnavailable

    monkeypatch.setattr(world.tokens, "find_token", find)
    async with world.client() as client:
        response = await client.get("/v1/jobs")
    assert (response.status_code, response.json()["code"]) == (503, "database-unavailable")
    assert response.json()["retryable"] is True
    assert response.headers["retry-after"] == "1"


def test_a_new_token_is_recognisable_and_only_its_hash_is_kept() -> None:
    secret, token = auth.new_token("ci")
    assert re.fullmatch(r"kjr_[0-9a-z]{8}_[A-Za-z0-9_-]{43}", secret)
    assert (token.name, token.prefix, token.token_hash) == ("ci", secret[4:12], auth.hash_secret(secret.encode()))
    assert secret not in repr(token)
    assert auth.new_token("ci")[0] != secret


def test_the_local_token_lives_in_a_file_for_its_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    secret, token = auth.local_token(folder, "local")
    auth.write_connection(folder, "http://127.0.0.1:8080", secret)
    assert auth.local_token(folder, "local") == (secret, token)
    mode = (folder / "connection.json").stat().st_mode
    assert stat.S_IMODE(mode) == 0o600
    assert [path.name for path in folder.iterdir()] == ["connection.json"]
    (folder / "connection.json").write_text('{"url":"x","token":"short"}')
    assert auth.local_token(folder, "local")[0] not in (secret, "short")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.com", "", "192.168.1.5"])
def test_without_authentication_only_loopback_is_accepted(host: str) -> None:
    assert not is_loopback(host)
    with pytest.raises(ConfigurationError, match="KJR_AUTH=token"):
        World(auth="none", host=host)
    check_exposure(load({"host": host}, {}))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "[::1]", "localhost"])
@pytest.mark.asyncio
async def test_without_authentication_on_loopback_everybody_is_anonymous(host: str) -> None:
    world = World(auth="none", host=host)
    async with world.client(token=False) as client:
        job_id = (await client.post("/v1/jobs", json={"image": "busybox"})).json()["id"]
        assert (await client.get(f"/v1/jobs/{job_id}")).json()["owner"] == auth.ANONYMOUS
