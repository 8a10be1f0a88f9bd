"""Checks that the cluster is the one that the database belongs to.

The first contact binds the database to the cluster. After that, a process that reaches another cluster (another context of a
kubeconfig, another address behind a name) must do nothing: every job would look deleted, and would start again there while the
first one still runs. Only a person may accept a move: `kjr rebind`.
"""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from kube_job_runner import ports
from kube_job_runner.domain.errors import TemporaryError, WrongCluster
from kube_job_runner.domain.failures import refusals
from kube_job_runner.ports import ClusterIdentity
from kube_job_runner.telemetry import loggers

T = TypeVar("T")

log = loggers.get_logger(__name__)

FRESH_SECONDS = 30.0
"""How long an answer counts. A lost connection ends it at once."""
KNOWN_SECONDS = 1.0


def compare(found: ClusterIdentity, bound: list[ClusterIdentity]) -> None:
    """Check the cluster that was found against the identities that a database is bound to.

    Identities of the same kind with other evidence say nothing: a process may have the right to read one object only.

    Raises:
        WrongCluster: it is another cluster.
    """
    for known in bound:
        same_evidence = known.evidence == found.evidence
        if known.kind != found.kind or (same_evidence and known.uid != found.uid):
            raise WrongCluster(
                f"this database belongs to the {known}, but the settings lead to the {found}. Nothing was done there."
                " Correct KJR_KUBECONFIG, KJR_KUBE_CONTEXT or KJR_CLUSTER. If the jobs shall move to the other cluster,"
                " stop all components and run `kjr rebind`"
            )


class IdentityCheck:
    """The check of one process, shared by its tasks."""

    def __init__(
        self,
        cluster: ports.ClusterIdentifier,
        store: ports.BoundCluster,
        clock: ports.Clock,
        *,
        fresh_seconds: float = FRESH_SECONDS,
    ) -> None:
        self._cluster = cluster
        self._store = store
        self._clock = clock
        self._fresh_seconds = fresh_seconds
        self._one_at_a_time = asyncio.Lock()
        self._asked_at = float("-inf")
        self._confirmed = False
        self._warned = False

    def doubt(self) -> None:
        """Ask again before the next use: the connection to the cluster was lost, so it may lead to another one now."""
        self._confirmed = False

    async def watched(self, call: Awaitable[T]) -> T:
        """Return the result of a call to the cluster. If the call found the cluster unreachable, the next use asks again."""
        try:
            return await call
        except TemporaryError as error:
            if error.reason in refusals.OUTAGES:
                self.doubt()
            raise

    async def check(self) -> None:
        """Return if the cluster is the right one, or if that cannot be known for lack of rights.

        Raises:
            WrongCluster: it is another cluster.
            TemporaryError: the cluster or the database did not answer, so it is not known.
        """
        if self._fresh():
            return
        async with self._one_at_a_time:
            if self._fresh():
                return
            try:
                await self._ask()
            except TemporaryError:
                if not self._confirmed:
                    raise
            self._asked_at = self._clock.monotonic()

    async def known(self) -> bool:
        """Return whether the cluster was confirmed; False: it does not answer within a second.

        Raises:
            WrongCluster: it is another cluster.
        """
        try:
            async with asyncio.timeout(KNOWN_SECONDS):
                await self.check()
        except (TemporaryError, TimeoutError):
            return False
        return True

    def _fresh(self) -> bool:
        return self._confirmed and self._clock.monotonic() - self._asked_at < self._fresh_seconds

    async def _ask(self) -> None:
        found = await self._cluster.identity()
        if found is not None:
            compare(found, await self._store.bind_cluster(found))
        elif not self._warned:
            self._warned = True
            log.warning(
                "the identity of the cluster cannot be read, so a wrong cluster is not noticed",
                action="cluster.identity",
                hint="grant `get` on the namespace kube-system",
            )
        self._confirmed = True
