"""Errors of the server become typed errors of the client."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from kube_job_runner import client as sdk
from tests.unit.client.conftest import JOB_ID, Driver, Script


def problem(status: int, code: str = "some-code", **more: Any) -> httpx2.Response:
    """Return a problem answer."""
    body = {"type": "/problems/x", "title": "Title", "status": status, "detail": "what is wrong", "code": code, **more}
    return httpx2.Response(status, json=body, headers={"content-type": "application/problem+json"})


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "malformed-json", sdk.InvalidRequest),
        (401, "unauthenticated", sdk.Unauthorized),
        (403, "forbidden", sdk.Forbidden),
        (404, "not-found", sdk.NotFound),
        (409, "job-ended", sdk.Conflict),
        (413, "body-too-large", sdk.InvalidRequest),
        (418, "teapot", sdk.ApiError),
        (422, "validation-failed", sdk.InvalidRequest),
        (422, "idempotency-key-reuse", sdk.IdempotencyMismatch),
        (500, "internal-error", sdk.ServerError),
    ],
)
def test_problems_become_typed_errors(
    client: Driver, script: Script, status: int, code: str, kind: type[sdk.ApiError]
) -> None:
    errors = [{"pointer": "/image", "detail": "is required", "in": "body"}]
    script.add(problem(status, code, request_id="r1", errors=errors, unknown=1))
    with pytest.raises(kind) as caught:
        client.call("cancel", JOB_ID, "why")
    assert type(caught.value) is kind
    assert (caught.value.status, caught.value.code, caught.value.problem.request_id) == (status, code, "r1")
    assert "/image: is required" in str(caught.value)
    assert len(script.requests) == 1


def test_an_error_that_is_no_problem_still_says_something(client: Driver, script: Script) -> None:
    script.add(httpx2.Response(403, text="<html>proxy says no</html>"))
    with pytest.raises(sdk.Forbidden, match="proxy says no"):
        client.call("get", JOB_ID)


@pytest.mark.parametrize(
    "answer",
    [
        httpx2.Response(200, text="<html>welcome</html>"),
        httpx2.Response(200, json=[1]),
        httpx2.Response(200, json={"hello": 1}),
        httpx2.Response(200, json={"id": 5, "state": "queued"}),
        httpx2.Response(404, text="<!DOCTYPE HTML><p>File not found."),
        httpx2.Response(501, text="<!DOCTYPE HTML><p>Unsupported method ('POST')."),
        httpx2.Response(405),
        httpx2.Response(302, headers={"location": "https://login.example/"}),
    ],
)
def test_an_answer_of_something_else_is_named_as_such(client: Driver, script: Script, answer: httpx2.Response) -> None:
    script.add(answer)
    with pytest.raises(sdk.UnexpectedAnswer):
        client.call("get", JOB_ID)
