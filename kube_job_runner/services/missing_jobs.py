"""The cluster jobs that the store knows and a list has not shown yet; and whether a list that lacks many of them is believed.

A list can be wrong: a server restored from an old backup, a broken cache or proxy, changed labels, a filter in between. If it
were believed, every job would be recorded as deleted and started again. So a list that lacks many is checked by reading some of
the missing cluster jobs by name. A read by name depends on neither labels nor caches.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable

from kube_job_runner import ports
from kube_job_runner.domain.errors import TemporaryError
from kube_job_runner.domain.facts import JobFacts
from kube_job_runner.telemetry import loggers, metrics

log = loggers.get_logger(__name__)

Find = Callable[[ports.KnownClusterJob], Awaitable[JobFacts | None]]

MANY = 5
"""A list that lacks at least so many, and at least this share of what is known in its namespace, is checked."""
SHARE = 0.25
LOOKS = 5
"""How many of the missing ones are read."""


class MissingJobs:
    """What one list has still to show. It is filled before the list begins: what the list then lacks was gone by its end."""

    def __init__(self, known: Iterable[ports.KnownClusterJob] = ()) -> None:
        self._by_uid = {entry.cluster_uid: entry for entry in known}
        self._known = Counter(entry.namespace for entry in self._by_uid.values())

    def __contains__(self, cluster_uid: object) -> bool:
        return cluster_uid in self._by_uid

    def shown(self, cluster_uid: str) -> None:
        """Note that the list shows a cluster job."""
        self._by_uid.pop(cluster_uid, None)

    async def after(self, namespace: str | None, find: Find | None) -> list[ports.KnownClusterJob]:
        """Return what the complete list of a namespace (None: of all) lacks, and forget it. `find` reads by name.

        Raises:
            TemporaryError: the list lacks cluster jobs that exist. It must be made again.
        """
        missing = [entry for entry in self._by_uid.values() if namespace in (None, entry.namespace)]
        known = self._known.total() if namespace is None else self._known[namespace]
        if find is not None and len(missing) >= MANY and len(missing) >= SHARE * known:
            await _check(missing, find, namespace=namespace, known=known)
        for entry in missing:
            del self._by_uid[entry.cluster_uid]
        return missing


async def _check(missing: list[ports.KnownClusterJob], find: Find, *, namespace: str | None, known: int) -> None:
    for entry in missing[:: -(-len(missing) // LOOKS)]:
        found = await find(entry)
        if found is None or found.uid != entry.cluster_uid:
            continue
        metrics.watch_wrong_lists.inc()
        log.error(
            "a list lacks cluster jobs that exist; it is not believed",
            action="watch.wrong_list",
            namespace=namespace,
            missing=len(missing),
            known=known,
            job_id=str(entry.job_id),
            cluster_name=entry.cluster_name,
            hint="were their labels changed, or was the API server restored from a backup?",
        )
        raise TemporaryError(
            f"a list lacks {len(missing)} of {known} known cluster jobs, but {entry.namespace}/{entry.cluster_name} exists",
            delay_seconds=5.0,
        )
