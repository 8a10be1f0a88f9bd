"""Lists a namespace page by page, completely, and never accepts a list that is older than what was seen before.

Source: Kubernetes API concepts, "Retrieving large results sets in chunks" and "Resource versions".
"""

import msgspec

from kube_job_runner.adapters.kubernetes.decode import Facts, Page
from kube_job_runner.adapters.kubernetes.event_buffer import Buffer
from kube_job_runner.adapters.kubernetes.watched_namespace import Expired, Rejected, WatchedNamespace, rejected
from kube_job_runner.domain.errors import TemporaryError
from kube_job_runner.ports import WatchEvent
from kube_job_runner.telemetry import loggers

STALE_LISTS_ACCEPTED_AFTER = 10

_log = loggers.get_logger(__name__)


async def list_all(watched: WatchedNamespace[Facts], buffer: Buffer[WatchEvent]) -> None:
    """List a namespace completely, with as many tries as that takes, and set the version to watch from."""
    while True:
        try:
            watched.version = await _list_once(watched, buffer)
        except Expired:
            watched.times.interrupted()
            watched.context.stats.expired += 1
            await watched.pause("the list expired before its last page")
        except (Rejected, TemporaryError) as error:
            watched.times.interrupted()
            watched.troubled(str(error))
            await watched.pause(str(error), min_seconds=error.delay_seconds)
        else:
            watched.current()
            watched.retries.reset()
            watched.troubled(None)
            return


async def _list_once(watched: WatchedNamespace[Facts], buffer: Buffer[WatchEvent]) -> str:
    watched.known.begin_list()
    version = token = ""
    while True:
        page: Page[Facts] = await _page(watched, token)
        if not version:
            version = page.resource_version
            _refuse_stale(watched, version)
        await buffer.room()
        buffer.put(watched.known.listed(page.items))
        token = page.token
        if not token:
            break
    cluster = await watched.context.identify()
    if watched.cluster is not None and cluster != watched.cluster:
        watched.known.restart()  # another cluster: what it lacks is not gone
    watched.cluster = cluster
    buffer.put(watched.known.end_list(int(version)))
    return version


async def _page(watched: WatchedNamespace[Facts], token: str) -> Page[Facts]:
    # Without resourceVersion the server answers from a quorum: an object that is not in such a list is truly gone.
    context, kind = watched.context, watched.context.kind
    target = watched.target(limit=context.tuning.page_limit, **{"continue": token})
    action = f"listing {kind.name}s"
    answer = await context.client.request("GET", target, action=action)
    watched.heard()
    if answer.status == 410:
        raise Expired
    if not answer.ok:
        raise rejected(answer, action=action)
    try:
        page: Page[Facts] = kind.decoder.page(answer.body)
    except (msgspec.MsgspecError, ValueError) as error:
        raise Rejected(f"{action}: the answer cannot be read: {error}") from None
    if not (page.resource_version.isascii() and page.resource_version.isdigit()):
        raise Rejected(f"{action}: a list of version {page.resource_version!r}")
    if page.unreadable:
        context.stats.unknown_lines += page.unreadable
        _log.warning(
            "objects of a list cannot be read",
            action="watch.list",
            kind=kind.name,
            namespace=watched.namespace,
            count=page.unreadable,
        )
    return page


def _refuse_stale(watched: WatchedNamespace[Facts], version: str) -> None:
    """Refuse a list that is older than what was seen before: compared with it, existing objects would look gone.

    A server that stays behind was restored from a backup. It is believed after some tries.
    """
    newest = watched.known.newest_version
    if int(version) >= newest:
        watched.stale_lists = 0
        return
    watched.context.stats.stale_lists += 1
    watched.stale_lists += 1
    if watched.stale_lists <= STALE_LISTS_ACCEPTED_AFTER:
        raise Rejected(f"a list of version {version}, while {newest} was seen before")
    _log.warning(
        "the history of the API server was replaced",
        action="watch.restart",
        kind=watched.context.kind.name,
        namespace=watched.namespace,
        version=version,
        seen=newest,
    )
    watched.stale_lists = 0
    watched.known.restart()
