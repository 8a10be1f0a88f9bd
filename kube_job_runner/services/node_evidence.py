"""Node evidence: the state of a node at the moment when something disturbed a pod on it.

It is read at once, because the node may be gone soon.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable

from kube_job_runner import ports
from kube_job_runner.domain.errors import TemporaryError
from kube_job_runner.domain.facts import NodeFacts, PodFacts
from kube_job_runner.domain.messages import Observed

_FRESH_SECONDS = 10.0
_REMEMBERED = 10_000

Report = Callable[[tuple[str, Observed]], Awaitable[None]]


class NodeEvidence:
    """Reads nodes in the background. Pods that a node loses within seconds share one request; each pod is reported once."""

    def __init__(self, nodes: ports.NodeReader, clock: ports.Clock) -> None:
        self._nodes = nodes
        self._clock = clock
        self._reported: OrderedDict[str, None] = OrderedDict()
        self._looks: dict[str, tuple[float, asyncio.Future[NodeFacts | None]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def look(self, seen: ports.SeenPod, report: Report) -> None:
        """Report the state of a pod's node, once, when something other than the pod's own program disturbed the pod."""
        pod = seen.facts
        if not pod.node or pod.uid in self._reported or not disturbed(pod):
            return
        self._reported[pod.uid] = None
        if len(self._reported) > _REMEMBERED:
            self._reported.popitem(last=False)
        task = asyncio.create_task(self._report(seen, report))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        """Cancel what has not been read yet. It is evidence, so nothing depends on it."""
        for task in self._tasks:
            task.cancel()

    async def _report(self, seen: ports.SeenPod, report: Report) -> None:
        facts = await self._state(seen.facts.node)
        if facts is not None:
            await report((f"node of {seen.facts.uid}", Observed(job_id=seen.job_id, attempt=seen.attempt, seen=facts)))

    async def _state(self, name: str) -> NodeFacts | None:
        now = self._clock.monotonic()
        known = self._looks.get(name)
        if known is None or now - known[0] > _FRESH_SECONDS:
            self._looks = {node: look for node, look in self._looks.items() if now - look[0] <= _FRESH_SECONDS}
            known = (now, asyncio.ensure_future(self._read(name)))
            self._looks[name] = known
        return await asyncio.shield(known[1])

    async def _read(self, name: str) -> NodeFacts | None:
        try:
            conditions = await self._nodes.node_conditions(name)
        except TemporaryError:
            return None
        return None if conditions is None else NodeFacts(name=name, seen_at=self._clock.now(), conditions=conditions)


def disturbed(pod: PodFacts) -> bool:
    """Return whether the node or the cluster ended a pod, or is about to (pod status, DisruptionTarget, a lost container)."""
    if pod.phase == "Failed" and pod.reason:
        return True
    if any(condition.type == "DisruptionTarget" and condition.status == "True" for condition in pod.conditions):
        return True
    return any(container.reason == "ContainerStatusUnknown" for container in pod.containers)
