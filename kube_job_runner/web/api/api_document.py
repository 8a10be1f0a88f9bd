"""`/openapi.json`, and the pages that show it: `/docs` with its script and style, and one page for each kind of problem."""

import functools
import html
import importlib.resources
from collections.abc import Sequence
from typing import Any

import msgspec

import kube_job_runner
from kube_job_runner.web.api.problem_types import ALL_PROBLEMS
from kube_job_runner.web.kit import openapi
from kube_job_runner.web.kit.handling import HTML, TEXT, Call, Nothing, Reply
from kube_job_runner.web.kit.operations import Bound, Handler, Operation
from kube_job_runner.web.kit.problems import ANY_REQUEST, NOT_FOUND, ProblemType, RequestProblem

_CSP = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:;"
    b" base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_PAGE_HEADERS = ((b"content-security-policy", _CSP),)
_JS = b"text/javascript; charset=utf-8"
_CSS = b"text/css; charset=utf-8"
_TAGS = {
    "jobs": "Submit, follow and cancel jobs.",
    "system": "The server itself: version, health, metrics.",
}


class ProblemPath(msgspec.Struct, frozen=True):
    """The problem of a page."""

    code: str


class ApiDocument:
    """The API document: made when it is first read, from all operations, its own included."""

    def __init__(self) -> None:
        self._bounds: Sequence[Bound] = ()

    def describe(self, bounds: Sequence[Bound]) -> None:
        """Set the operations that the document describes."""
        self._bounds = bounds

    @functools.cached_property
    def content(self) -> bytes:
        """The document as JSON. The committed one is the same, indented."""
        info = {
            "title": "kube-job-runner",
            "version": kube_job_runner.__version__,
            "description": "Run any container to completion on Kubernetes, and always know the truth about it.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        }
        return msgspec.json.encode(openapi.build(self._bounds, info=info, tags=_TAGS, more_problems=ANY_REQUEST))


def operations(document: ApiDocument) -> list[Operation]:

    async def get_document(_call: Call[Nothing, Nothing, Nothing]) -> Reply[Nothing]:
        return Reply(content=document.content)

    async def root(_call: Call[Nothing, Nothing, Nothing]) -> Reply[Nothing]:
        """Redirect a person who opens the server in a browser to the page of the API."""
        return Reply(content=b"", media_type=TEXT, headers=((b"location", b"/docs"),))

    async def problem(call: Call[ProblemPath, Nothing, Nothing]) -> Reply[Nothing]:
        """Return the page that `type` of a problem names."""
        kind = next((kind for kind in ALL_PROBLEMS if kind.code == call.path.code), None)
        if kind is None:
            raise RequestProblem(NOT_FOUND, "no problem has this code")
        return Reply(content=_problem_page(kind), media_type=HTML, headers=_PAGE_HEADERS)

    page, script, style = _static("docs.html", HTML), _static("docs.js", _JS), _static("docs.css", _CSS)
    return [
        _public("/openapi.json", "getOpenapi", "This document", get_document),
        _public("/", "root", "Redirect to the page of the API", root, media_type="text/plain", status=307, hidden=True),
        _public("/docs", "docs", "The page of the API", page, media_type=HTML.decode(), hidden=True),
        _public("/static/docs.js", "script", "Script of the page", script, media_type="text/javascript", hidden=True),
        _public("/static/docs.css", "style", "Style of the pages", style, media_type="text/css", hidden=True),
        _public(
            "/problems/{code}",
            "getProblem",
            "The page of a problem",
            problem,
            media_type=HTML.decode(),
            problems=(NOT_FOUND,),
            hidden=True,
        ),
    ]


def _public(path: str, operation_id: str, summary: str, handler: Handler, **more: Any) -> Operation:
    return Operation("GET", path, operation_id, summary, handler, tag="system", public=True, gate="page", **more)


def _static(name: str, media_type: bytes) -> Handler:
    content = (importlib.resources.files("kube_job_runner.web") / "static" / name).read_bytes()
    headers = _PAGE_HEADERS if media_type == HTML else ()

    async def get_file(_call: Call[Nothing, Nothing, Nothing]) -> Reply[Nothing]:
        return Reply(content=content, media_type=media_type, headers=headers)

    return get_file


def _problem_page(kind: ProblemType) -> bytes:
    text = {name: html.escape(str(value)) for name, value in msgspec.structs.asdict(kind).items()}
    again = "The same request may succeed later, unchanged." if kind.retryable else "A retry does not help."
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><link rel="stylesheet" href="/static/docs.css">'
        f"<title>{text['code']}</title></head><body><main><h1>{text['status']} {text['title']}</h1>"
        f"<p><code>{text['code']}</code></p><p>{text['meaning']}</p><h2>What to do</h2><p>{text['remedy']}</p>"
        f'<p>{again}</p><p><a href="/docs">The API</a></p></main></body></html>'
    )
    return page.encode()
