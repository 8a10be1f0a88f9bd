"""The kinds of objects that informers watch: the path, decoder, memory and reports of each."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Generic, Literal

import msgspec

from kube_job_runner.adapters.kubernetes import api_paths, decode
from kube_job_runner.adapters.kubernetes.decode import Decoder, Facts
from kube_job_runner.adapters.kubernetes.known_objects import KnownEvents, KnownObjects, Memory
from kube_job_runner.domain.facts import EventFacts, JobFacts, PodFacts
from kube_job_runner.ports import SeenEvent, SeenJob, SeenPod

Kind = Literal["job", "pod", "event"]


class WatchedKind(msgspec.Struct, Generic[Facts], frozen=True, kw_only=True):
    """One kind. `path` returns the path of its lists in a namespace, or in all of them (None).

    `field_selector` takes the place of our labels for a kind whose objects do not carry them.
    """

    name: Kind
    path: Callable[[str | None], str]
    decoder: Decoder[Facts]
    remember: Callable[[Callable[[], datetime]], Memory[Facts]]
    """Returns an empty memory; its argument is the clock."""
    field_selector: str = ""


JOBS: WatchedKind[JobFacts] = WatchedKind(
    name="job",
    path=api_paths.jobs,
    decoder=decode.JOBS,
    remember=lambda _now: KnownObjects(lambda job_id, n, facts: SeenJob(job_id=job_id, attempt=n, facts=facts)),
)
PODS: WatchedKind[PodFacts] = WatchedKind(
    name="pod",
    path=api_paths.pods,
    decoder=decode.PODS,
    remember=lambda _now: KnownObjects(lambda job_id, n, facts: SeenPod(job_id=job_id, attempt=n, facts=facts)),
)
# Events do not carry the labels of their object. The name of the object tells the attempt.
EVENTS: WatchedKind[EventFacts] = WatchedKind(
    name="event",
    path=api_paths.events,
    decoder=decode.EVENTS,
    remember=lambda now: KnownEvents(
        lambda job_id, n, facts: SeenEvent(job_id=job_id, attempt=n, facts=facts), now=now
    ),
    field_selector="type=Warning",
)
