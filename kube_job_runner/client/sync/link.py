# Written by `make client` from kube_job_runner/client/aio/link.py: do not edit.
"""The link of the synchronous client: HTTP requests with retries, long polls, streams."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import httpx2

from kube_job_runner.client import api_calls, models, tries
from kube_job_runner.client.link_settings import LinkSettings

UNCHANGED_PAUSE_SECONDS = 1.0


class Link:
    """A pool of connections to one server. Close it."""

    def __init__(
        self,
        settings: LinkSettings,
        *,
        transport: httpx2.BaseTransport | None,
        sleep: Callable[[float], None],
    ) -> None:
        self.settings = settings
        self.sleep = sleep
        self._http = httpx2.Client(
            transport=transport or httpx2.HTTPTransport(**settings.transport_options()),
            **settings.client_options(),
        )

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def send(self, call: api_calls.Call, *, patient: bool = False) -> bytes:
        """Make a call, with retries, and return the body of its answer. A patient call survives an outage.

        Raises:
            ApiError: the server refused the call.
            ConnectionFailed: the server did not answer in time.
        """
        attempts = self.settings.tries(patient=patient)
        while True:
            try:
                answer = self._http.request(
                    call.method,
                    call.path,
                    params=call.params,
                    headers=call.headers,
                    content=call.body,
                    timeout=tries.timeouts(call),
                )
            except httpx2.HTTPError as fault:
                delay = attempts.after_fault(fault)
            else:
                if answer.is_success:
                    return answer.content
                delay = attempts.after_answer(answer)
            self.sleep(delay)

    def get(self, job_id: str, *, patient: bool = False) -> models.Job:
        """Return a job as it is now."""
        return api_calls.read_job(self.send(api_calls.get(job_id), patient=patient))

    def poll(self, job: models.Job, wait_seconds: float) -> models.Job:
        """Return a job once it has changed, or as it is after `wait_seconds`."""
        started = self.settings.monotonic()
        call = api_calls.poll(job.id, since=job.version, wait_seconds=wait_seconds)
        seen = api_calls.read_job(self.send(call, patient=True))
        if seen.version == job.version and not seen.terminal:
            # A draining server, or a proxy that cuts long requests, answers early. That must not become a busy loop.
            early = min(UNCHANGED_PAUSE_SECONDS, wait_seconds) - (self.settings.monotonic() - started)
            if early > 0:
                self.sleep(early)
        return seen

    def stream(self, call: api_calls.Call) -> AbstractContextManager[httpx2.Response]:
        """Open a call whose answer is read piece by piece. It is not retried here."""
        return self._http.stream(
            call.method, call.path, params=call.params, headers=call.headers, timeout=tries.timeouts(call)
        )
