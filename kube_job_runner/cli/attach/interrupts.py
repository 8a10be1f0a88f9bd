"""Ctrl-C and SIGTERM while a command waits for jobs: the same contract for every verb.

On a terminal they detach: the jobs continue, and the commands that lead back to them are printed. Without a terminal, a command
that submitted the jobs cancels them, so that a stopped pipeline leaves nothing running. A command that only looks never cancels.
`kjr run` has more: twice Ctrl-C cancels (`attached_run`).
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from types import FrameType
from typing import TYPE_CHECKING

import click

from kube_job_runner.cli.attach import reports
from kube_job_runner.cli.invocation import Invocation, interactive
from kube_job_runner.cli.terminal import text

if TYPE_CHECKING:
    from kube_job_runner.client import Client

_CANCELLED_AT_ONCE_MAX = 1000


class _Signalled(BaseException):
    def __init__(self, number: int) -> None:
        self.number = number


@contextlib.contextmanager
def handled(
    invocation: Invocation, client: Client, open_ids: Callable[[], list[str]], *, submitted_here: bool
) -> Iterator[None]:
    """Handle both signals while the body waits. `open_ids` returns the jobs whose end is not known yet.

    Raises:
        Exit: a signal came; its code is 128 and the number of the signal.
    """

    def handle(number: int, _: FrameType | None) -> None:
        raise _Signalled(number)

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    came: int | None = None
    try:
        yield
    except _Signalled as signalled:
        came = signalled.number
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if came is not None:
        invocation.ending = True
        _leave(invocation, client, open_ids(), came, cancels=submitted_here and not interactive())
        raise click.exceptions.Exit(128 + came)


def _leave(invocation: Invocation, client: Client, ids: list[str], number: int, *, cancels: bool) -> None:
    if not ids:
        return
    if cancels:
        _cancel(invocation, client, ids, signal.Signals(number).name)
    elif len(ids) == 1:
        reports.continues(invocation, ids[0])
    else:
        shown = " ".join(text.line(job_id) for job_id in ids[:3]) + (" ..." if len(ids) > 3 else "")
        invocation.note(f"kjr: {len(ids)} jobs continue; to return to them:\n  kjr wait {shown}\n  kjr cancel {shown}")


def _cancel(invocation: Invocation, client: Client, ids: list[str], name: str) -> None:
    from kube_job_runner.client import errors

    cancelled = 0
    for job_id in ids[:_CANCELLED_AT_ONCE_MAX]:
        try:
            client.cancel(job_id, f"kjr was interrupted ({name})")
            cancelled += 1
        except errors.Conflict:
            continue  # it has ended
        except errors.ClientError as error:
            invocation.say(f"kjr: job {text.line(job_id)} could not be cancelled: {error}")
            break
    invocation.say(f"kjr: cancel of {cancelled} of {len(ids)} jobs requested ({name})")
