"""Everything about the server itself: health, version, metrics, the API document and its page, the problem pages."""

from __future__ import annotations

import html
import importlib.resources

import msgspec

import kube_job_runner
from kube_job_runner.services.readiness import Readiness
from kube_job_runner.telemetry import metrics
from kube_job_runner.web.api import queries, views
from kube_job_runner.web.api.problems import ALL_PROBLEMS
from kube_job_runner.web.kit.handling import HTML, TEXT, Call, Nothing, Reply
from kube_job_runner.web.kit.problems import NOT_FOUND, RequestProblem

MINIMUM_CLIENT = "0.1.0"
METRICS = b"text/plain; version=0.0.4; charset=utf-8"
_CSP = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:;"
    b" base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_PAGE_HEADERS = ((b"content-security-policy", _CSP),)


class SystemApi:
    """The operations about the server itself. `document` is set once all operations are known."""

    def __init__(self, readiness: Readiness) -> None:
        self._readiness = readiness
        self.document = b"{}"
        static = importlib.resources.files("kube_job_runner.web") / "static"
        self._page, self._script, self._style = (
            (static / name).read_bytes() for name in ("docs.html", "docs.js", "docs.css")
        )
        metrics.build_info.labels(kube_job_runner.__version__).set(1)

    async def version(self, _call: Call[Nothing, Nothing, Nothing]) -> Reply[views.VersionView]:
        """Return the versions of the server and of the API."""
        view = views.VersionView(
            version=kube_job_runner.__version__, api_versions=["v1"], minimum_client=MINIMUM_CLIENT
        )
        return Reply(view)

    async def live(self, _call: Call[Nothing, Nothing, Nothing]) -> Reply[Nothing]:
        """Answer as long as the event loop turns; never asks the database."""
        return Reply(content=b"ok\n", media_type=TEXT)

    async def ready(self, call: Call[Nothing, queries.ReadyQuery, Nothing]) -> Reply[Nothing]:
        """Tell whether requests should be sent here: the store can serve and the server is not stopping."""
        self._readiness.stopping = call.draining.is_set()
        ready, lines = await self._readiness.report()
        if ready and not call.query.verbose:
            return Reply(content=b"ok\n", media_type=TEXT)
        return Reply(content=lines.encode("utf-8", "replace"), media_type=TEXT, status=200 if ready else 503)

    async def metrics(self, _call: Call[Nothing, Nothing, Nothing]) -> Reply[Nothing]:
        """Return the metrics of this process."""
        await self._readiness.checks()
        return Reply(content=metrics.exposition(), media_type=METRICS)

    async def openapi(self, _call: Call[Nothing, Nothing, Nothing]) -> Reply[Nothing]:
        """Return the API document."""
        return Reply(content=self.document)

    async def root(self, _call: Call[Nothing, Nothing, Nothing]) -> Reply[Nothing]:
        """Lead a person who opens the server in a browser to the page of the API."""
        return Reply(content=b"", media_type=TEXT, headers=((b"location", b"/docs"),))

    async def docs(self, _call: Call[Nothing, Nothing, Nothing]) -> Reply[Nothing]:
        """Return the page that renders the API document."""
        return Reply(content=self._page, media_type=HTML, headers=_PAGE_HEADERS)

    async def script(self, _call: Call[Nothing, Nothing, Nothing]) -> Reply[Nothing]:
        """Return the script of the page."""
        return Reply(content=self._script, media_type=b"text/javascript; charset=utf-8")

    async def style(self, _call: Call[Nothing, Nothing, Nothing]) -> Reply[Nothing]:
        """Return the style of the pages."""
        return Reply(content=self._style, media_type=b"text/css; charset=utf-8")

    async def problem(self, call: Call[queries.ProblemPath, Nothing, Nothing]) -> Reply[Nothing]:
        """Return the page of a kind of problem: what `type` of a problem leads to."""
        kind = next((kind for kind in ALL_PROBLEMS if kind.code == call.path.code), None)
        if kind is None:
            raise RequestProblem(NOT_FOUND, "there is no problem of this code")
        text = {name: html.escape(str(value)) for name, value in msgspec.structs.asdict(kind).items()}
        again = "The same request may succeed later, unchanged." if kind.retryable else "Repeating it will not help."
        page = (
            '<!doctype html><html lang="en"><head><meta charset="utf-8"><link rel="stylesheet" href="/static/docs.css">'
            f"<title>{text['code']}</title></head><body><main><h1>{text['status']} {text['title']}</h1>"
            f"<p><code>{text['code']}</code></p><p>{text['meaning']}</p><h2>What to do</h2><p>{text['remedy']}</p>"
            f'<p>{again}</p><p><a href="/docs">The API</a></p></main></body></html>'
        )
        return Reply(content=page.encode(), media_type=HTML, headers=_PAGE_HEADERS)
