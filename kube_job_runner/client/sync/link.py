# Written by `make client` from kube_job_runner/client/aio/link.py: do not edit.
"""The link of the synchronous client: HTTP requests with retries, long polls, streams."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import httpx2

from kube_job_runner.client import api_calls, models
from kube_job_runner.client.link_settings import LinkSettings, request_options

UNCHANGED_PAUSE_SECONDS = 1.0


class Link:
    """A pool of connections to one server. Close it."""

    def __init__(
        self,
        settings: LinkSettings,
        transport: httpx2.BaseTransport | None,
        sleep: Callable[[float], None],
    ) -> None:
        self.settings = settings
        self.sleep = sleep
        transport = transport or httpx2.HTTPTransport(**settings.transport_options())
        self._http = httpx2.Client(transport=transport, **settings.client_options())

    def close(self) -> None:
        self._http.close()

    def send(self, call: api_calls.Call[api_calls.AnswerT], *, patient: bool = False) -> api_calls.AnswerT:
        """Make a call, with retries, and return its value. A patient call survives an outage.

        Raises:
            ApiError: the server refused the call.
            ConnectionFailed: the server did not answer in time.
            UnexpectedAnswer: the answer has another shape.
        """
        attempts = self.settings.tries(patient=patient)
        while True:
            try:
                answer = self._http.request(**request_options(call))
            except httpx2.HTTPError as fault:
                delay = attempts.after_fault(fault)
            else:
                attempts.reached()
                if answer.is_success:
                    return call.read(answer.content)
                delay = attempts.after_answer(answer)
            self.sleep(delay)

    def poll(self, job: models.Job, wait_seconds: float) -> models.Job:
        """Return a job once it has changed, or as it is after `wait_seconds`."""
        started = self.settings.monotonic()
        call = api_calls.poll(job.id, since=job.version, wait_seconds=wait_seconds)
        seen = self.send(call, patient=True)
        if seen.version == job.version and not seen.terminal:
            # A draining server, or a proxy that cuts long requests, answers early. That must not become a busy loop.
            early = min(UNCHANGED_PAUSE_SECONDS, wait_seconds) - (self.settings.monotonic() - started)
            if early > 0:
                self.sleep(early)
        return seen

    def stream(self, call: api_calls.Call[bytes]) -> AbstractContextManager[httpx2.Response]:
        """Open a call whose answer is read piece by piece. It is not retried here."""
        return self._http.stream(**request_options(call))
