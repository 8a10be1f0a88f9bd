"""The list of an informer: page by page, complete or not at all, and never older than what was seen before.

Source: Kubernetes API concepts, "Retrieving large results sets in chunks" and "Resource versions".
"""

from __future__ import annotations

import msgspec

from kube_job_runner.adapters.kubernetes.decode import Facts, Page
from kube_job_runner.adapters.kubernetes.event_buffer import Buffer
from kube_job_runner.adapters.kubernetes.watched_namespace import Expired, Rejected, Scope, rejected
from kube_job_runner.domain.errors import TemporaryError
from kube_job_runner.ports import WatchEvent
from kube_job_runner.telemetry import loggers

STALE_LISTS_ACCEPTED_AFTER = 10

_log = loggers.get_logger(__name__)


async def list_all(scope: Scope[Facts], buffer: Buffer[WatchEvent]) -> None:
    """List a namespace completely, however many tries that takes, and set the version to watch from."""
    while True:
        try:
            scope.version = await _list_once(scope, buffer)
        except Expired:
            scope.wiring.stats.expired += 1
            await scope.pause("the list expired before its last page")
        except (Rejected, TemporaryError) as error:
            scope.troubled(str(error))
            await scope.pause(str(error), least_seconds=error.delay_seconds)
        else:
            scope.backoff.reset()
            scope.troubled(None)
            return


async def _list_once(scope: Scope[Facts], buffer: Buffer[WatchEvent]) -> str:
    scope.known.begin_list()
    version = token = ""
    while True:
        page: Page[Facts] = await _page(scope, token)
        if not version:
            version = page.resource_version
            _refuse_stale(scope, version)
        await buffer.room()
        buffer.put(scope.known.listed(page.items))
        token = page.token
        if not token:
            break
    buffer.put(scope.known.end_list(int(version)))
    return version


async def _page(scope: Scope[Facts], token: str) -> Page[Facts]:
    # Without resourceVersion the server answers from a quorum: what is not in such a list is truly gone.
    wiring = scope.wiring
    target = scope.target(limit=wiring.tuning.page_limit, **{"continue": token})
    action = f"listing {wiring.kind}s"
    answer = await wiring.client.request("GET", target, action=action)
    scope.heard()
    if answer.status == 410:
        raise Expired
    if not answer.ok:
        raise rejected(answer, action=action)
    try:
        page: Page[Facts] = wiring.decoder.page(answer.body)
    except (msgspec.MsgspecError, ValueError) as error:
        raise Rejected(f"{action}: an answer that cannot be read: {error}") from None
    if not (page.resource_version.isascii() and page.resource_version.isdigit()):
        raise Rejected(f"{action}: a list of version {page.resource_version!r}")
    if page.unreadable:
        wiring.stats.unknown_lines += page.unreadable
        _log.warning("objects_unreadable", kind=wiring.kind, namespace=scope.namespace, count=page.unreadable)
    return page


def _refuse_stale(scope: Scope[Facts], version: str) -> None:
    """Refuse a list older than what was already seen: against it, living objects would look gone.

    A server that stays behind was restored from a backup; it is believed in the end.
    """
    newest = scope.known.newest_version
    if int(version) >= newest:
        scope.stale_lists = 0
        return
    scope.wiring.stats.stale_lists += 1
    scope.stale_lists += 1
    if scope.stale_lists <= STALE_LISTS_ACCEPTED_AFTER:
        raise Rejected(f"a list of version {version}, while {newest} was seen before")
    _log.warning("history_replaced", kind=scope.wiring.kind, namespace=scope.namespace, version=version, seen=newest)
    scope.stale_lists = 0
    scope.known.restart()
