"""What a page in a browser can make the browser send to a server without tokens, and what people and probes send."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx2
import pytest
import pytest_asyncio

from tests.unit.web.conftest import World

pytestmark = pytest.mark.asyncio
JOB = {"image": "busybox"}
NO_JOB = "/v1/jobs/0199d1f2-7c00-7a3b-8c4d-5e6f708192a3"


@pytest_asyncio.fixture
async def open_world() -> AsyncIterator[tuple[World, httpx2.AsyncClient]]:
    world = World(auth="none")
    async with world.client(token=False) as client:
        yield world, client


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:8080", "LOCALHOST:8080", "localhost.:8080", "127.0.0.1:8080", "127.9.9.9", "[::1]:8080"],
)
async def test_loopback_is_served(host: str, open_world: tuple[World, httpx2.AsyncClient]) -> None:
    world, client = open_world
    assert (await client.post("/v1/jobs", json=JOB, headers={"Host": host})).status_code == 201
    own = {"Host": host, "Origin": f"http://{host}", "Sec-Fetch-Site": "same-origin"}
    assert (await client.post("/v1/jobs", json=JOB, headers=own)).status_code == 201
    assert (await client.get("/v1/jobs", headers={"Host": host, "Sec-Fetch-Site": "none"})).status_code == 200
    assert len(world.store.jobs) == 2


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "evil.example:8080", "localhost.evil.example", "127.0.0.1.evil.example", "notlocalhost"),
        *(
            "0.0.0.0:8080",
            "10.0.0.1",
            "169.254.169.254",
            "[::]",
            "[::ffff:10.0.0.1]",
            "127.1",
            "2130706433",
            "0x7f.1",
            "a",
        ),
    ],
)
async def test_a_name_that_leads_to_loopback_is_not_loopback(
    host: str, open_world: tuple[World, httpx2.AsyncClient]
) -> None:
    world, client = open_world
    for method, path in (
        ("POST", "/v1/jobs"),
        ("GET", "/v1/jobs"),
        ("GET", NO_JOB),
        ("GET", "/docs"),
        ("GET", "/metrics"),
    ):
        answer = await client.request(method, path, json=JOB if method == "POST" else None, headers={"Host": host})
        assert (answer.status_code, answer.json()["code"]) == (421, "foreign-host"), path
    assert not world.store.jobs
    for probe in ("/livez", "/healthz", "/readyz"):  # a kubelet names the address of the pod
        assert (await client.get(probe, headers={"Host": host})).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "http://localhost:3000"},
        {"Origin": "http://localhost:8080.evil.example"},
        {"Origin": "http://evil.example/localhost:8080"},
        {"Origin": "file://localhost:8080"},
        {"Origin": "localhost:8080"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "something-new"},
        {"Origin": "http://localhost:8080", "Sec-Fetch-Site": "cross-site"},
        {"Origin": "https://evil.example", "Sec-Fetch-Site": "none"},
    ],
)
async def test_a_page_of_another_site_can_neither_change_nor_read(
    headers: dict[str, str], open_world: tuple[World, httpx2.AsyncClient]
) -> None:
    world, client = open_world
    headers = {"Host": "localhost:8080", **headers}
    calls = (
        ("POST", "/v1/jobs"),
        ("POST", f"{NO_JOB}:cancel"),
        ("GET", "/v1/jobs"),
        ("GET", "/metrics"),
        ("GET", NO_JOB),
    )
    for method, path in calls:
        answer = await client.request(method, path, json=JOB if method == "POST" else None, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (403, "foreign-origin"), path
    assert not world.store.jobs
    assert (await client.get("/docs", headers=headers)).status_code == 200  # a link to the page of the API works


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
async def test_a_form_cannot_post_even_without_a_body(
    media_type: str, open_world: tuple[World, httpx2.AsyncClient]
) -> None:
    _world, client = open_world
    headers = {"Host": "localhost:8080", "Content-Type": media_type}
    for path, body in (("/v1/jobs", b'{"image":"busybox"}'), (f"{NO_JOB}:cancel", b"")):
        assert (await client.post(path, content=body, headers=headers)).status_code == 415


async def test_other_names_can_be_allowed() -> None:
    world = World(auth="none", allowed_hosts=("Build.example", "other.example:9000"))
    async with world.client(token=False) as client:
        for host, status in (
            ("build.example", 200),
            ("build.example:1234", 200),
            ("other.example:9000", 200),
            ("other.example:9001", 421),
            ("other.example", 421),
            ("localhost:8080", 200),
        ):
            assert (await client.get("/v1/jobs", headers={"Host": host})).status_code == status, host


async def test_with_tokens_every_name_is_served_unless_some_are_named() -> None:
    evil = {"Host": "any.example", "Origin": "https://other.example", "Sec-Fetch-Site": "cross-site"}
    world = World()
    async with world.client() as client:
        assert (await client.get("/v1/jobs", headers=evil)).status_code == 200
    world = World(allowed_hosts=("jobs.example",))
    async with world.client() as client:
        assert (await client.get("/v1/jobs", headers=evil)).status_code == 421
        assert (await client.get("/v1/jobs", headers={"Host": "jobs.example"})).status_code == 200
        assert (await client.get("/metrics", headers={"Host": "10.1.2.3:8080"})).status_code == 200
        assert (await client.get("/readyz", headers=evil)).status_code == 200
