"""The API document and its pages."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import httpx2
import pytest

from docs import api_pages
from kube_job_runner.web.api.problem_types import ALL_PROBLEMS

ROOT = Path(__file__).parents[4]


@pytest.mark.asyncio
async def test_the_pages_run_no_inline_script(client: httpx2.AsyncClient) -> None:
    root = await client.get("/")
    assert (root.status_code, root.headers["location"]) == (307, "/docs")
    page = await client.get("/docs")
    assert "default-src 'none'; script-src 'self'" in page.headers["content-security-policy"]
    assert "unsafe" not in page.headers["content-security-policy"]
    assert not re.search(r"<script(?![^>]*src=)|\son\w+=|style=", page.text)
    for link in re.findall(r'(?:src|href)="([^"]+)"', page.text):
        assert (await client.get(link)).status_code == 200
    assert (await client.get("/static/docs.js")).headers["content-type"].startswith("text/javascript")


@pytest.mark.asyncio
async def test_every_kind_of_problem_has_its_page(client: httpx2.AsyncClient) -> None:
    for kind in ALL_PROBLEMS:
        page = await client.get(f"/problems/{kind.code}")
        assert page.status_code == 200
        assert kind.code in page.text
        assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert (await client.get("/problems/<script>")).status_code == 404


@pytest.mark.asyncio
async def test_the_served_document_is_the_committed_one(client: httpx2.AsyncClient) -> None:
    served = (await client.get("/openapi.json")).json()
    assert served == json.loads((ROOT / "docs/openapi.json").read_bytes())


def _references(node: Any) -> set[str]:
    if isinstance(node, dict):
        here = {node["$ref"]} if "$ref" in node else set()
        return here.union(*(_references(value) for value in node.values()))
    return set().union(*(_references(item) for item in node)) if isinstance(node, list) else set()


def test_the_document_is_whole() -> None:
    document = json.loads(api_pages.files()["docs/openapi.json"])
    operations = [operation for methods in document["paths"].values() for operation in methods.values()]
    ids = [operation["operationId"] for operation in operations]
    assert len(set(ids)) == len(ids) >= 14
    for found in _references(document):
        node = document
        for part in found.removeprefix("#/").split("/"):
            node = node[part]
    for operation in operations:
        assert operation["summary"]
        assert ("401" in operation["responses"]) is bool(operation["security"])
    assert '"additionalProperties": false' not in json.dumps(document)
    served = {problem.code for problem in ALL_PROBLEMS} - {"method-not-allowed"}
    assert served == set(document["components"]["examples"])


def test_every_field_and_every_parameter_is_described() -> None:
    document = json.loads(api_pages.files()["docs/openapi.json"])
    bare = []
    for name, schema in document["components"]["schemas"].items():
        fields = schema.get("properties", {})
        bare += [f"{name}.{field}" for field, described in fields.items() if "description" not in described]
    for path, methods in document["paths"].items():
        for operation in methods.values():
            bare += [f"{path} {one['name']}" for one in operation.get("parameters", ()) if "description" not in one]
    assert bare == []


def test_every_field_of_the_job_spec_has_an_example() -> None:
    schemas = json.loads(api_pages.files()["docs/openapi.json"])["components"]["schemas"]
    parts = ("JobSpec", "Secret", "Resources", "Timeouts", "Retry", "RetryRule", "Toleration", "Volume", "EmptyDir")
    for part in parts:
        assert [field for field, shown in schemas[part]["properties"].items() if "examples" not in shown] == []
