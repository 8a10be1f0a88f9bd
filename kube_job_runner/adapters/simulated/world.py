"""The life of simulated Jobs and pods: what the Job controller, the scheduler and a kubelet would do, in their order.

Every step is planned on the timeline and looks again at what it finds when its moment comes, as controllers do: an object
may have been deleted, or told to end, in between.
"""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Callable
from datetime import timedelta

from msgspec.structs import replace

from kube_job_runner.adapters.inprocess.captured_output import Output
from kube_job_runner.adapters.inprocess.feeds import EventFeed, gone
from kube_job_runner.adapters.simulated import pods
from kube_job_runner.adapters.simulated.faults import FaultyFeed
from kube_job_runner.adapters.simulated.history import History
from kube_job_runner.adapters.simulated.script import Script
from kube_job_runner.adapters.simulated.simulated_time import Timeline
from kube_job_runner.domain.facts import EventFacts, JobFacts, PodFacts
from kube_job_runner.ports import ClusterJob, OwnedObject, SeenEvent, SeenJob, SeenPod

PULL_BACKOFF_SECONDS = 2.0
_CONDITION_GAP_SECONDS = 0.01
KILLED_CODE = 137


class Simulated:
    """One cluster job: its Job, its pod if it has one, and the log of its container."""

    def __init__(self, job: ClusterJob, script: Script, facts: JobFacts, *, installation: str) -> None:
        self.job = job
        self.installation = installation
        self.script = script
        self.facts = facts
        self.pod: PodFacts | None = None
        self.output = Output()
        self.changed = asyncio.Event()
        self.node_lost = False

    @property
    def wanted(self) -> bool:
        """Whether the Job exists and nobody has asked for its end."""
        return not self.facts.gone and not self.facts.deleting

    def owned_job(self) -> OwnedObject:
        """Return the Job as an inventory lists it."""
        return OwnedObject(
            kind="Job",
            namespace=self.job.namespace,
            name=self.job.cluster_name,
            uid=self.facts.uid,
            created_at=self.facts.created_at,
            job_id=self.job.job_id,
            attempt=self.job.attempt,
            installation=self.installation,
            deleting=self.facts.deleting,
        )

    def owned_pod(self) -> OwnedObject | None:
        """Return the pod as an inventory lists it, or None when there is none."""
        pod = self.pod
        if pod is None or pod.gone:
            return None
        owned = replace(self.owned_job(), kind="Pod", name=pod.name, uid=pod.uid, owner_uid=pod.job_uid)
        return replace(owned, created_at=pod.created_at, deleting=pod.deleting)


class World:
    """All simulated cluster jobs by uid, those too of which only a pod is left."""

    def __init__(
        self, timeline: Timeline, history: History, *, seed: int, condition_lag_seconds: float, step_seconds: float
    ) -> None:
        self.by_uid: dict[str, Simulated] = {}
        self.by_name: dict[tuple[str, str], Simulated | None] = {}  # None: an object that is not ours
        self.by_pod: dict[tuple[str, str], Simulated] = {}
        self.by_pod_uid: dict[str, Simulated] = {}
        self.job_feed = FaultyFeed[SeenJob](timeline)
        self.pod_feed = FaultyFeed[SeenPod](timeline)
        self.event_feed = EventFeed()
        self._timeline = timeline
        self._history = history
        self._random = random.Random(seed)  # noqa: S311 - a seed is the point
        self._condition_lag_seconds = condition_lag_seconds
        self._step_seconds = step_seconds
        self._version = 0

    # -- what the API server does ------------------------------------------------------------------------------------

    def add(self, job: ClusterJob, script: Script, *, installation: str = "") -> Simulated:
        """Store a new Job; its controller sees it a step later."""
        self._version += 1
        facts = JobFacts(uid=self._uid(), resource_version=self._version, created_at=self._timeline.clock.now())
        sim = Simulated(job, script, facts, installation=installation)
        self.by_uid[facts.uid] = self.by_name[job.namespace, job.cluster_name] = sim
        self._history.created(job, facts.uid)
        self.job_feed.publish(self._seen_job(sim))
        self._later(0, self._create_pod, sim)
        return sim

    def remove(self, sim: Simulated, *, foreground: bool) -> None:
        """Take a delete request: in the foreground the Job waits for its pod, else it is gone at once."""
        if foreground:
            if sim.wanted:
                self._set_job(sim, replace(sim.facts, deleting=True))
        elif not sim.facts.gone:
            self._drop_job(sim)
        if sim.pod is None or sim.pod.gone:
            self._later(0, self._collect, sim)
        else:
            self.remove_pod(sim)

    def remove_pod(self, sim: Simulated, *, grace_seconds: int | None = None) -> None:
        """Take a delete request for a pod: it ends within its grace period, and is gone then; 0 asks no node."""
        pod = sim.pod
        if pod is None or pod.gone or (pod.deleting and grace_seconds is None):
            return
        allowed_seconds = float(sim.job.spec.stop_grace_seconds if grace_seconds is None else grace_seconds)
        due_at = self._timeline.clock.now() + timedelta(seconds=allowed_seconds)
        if pod.deletion_due_at is None or due_at < pod.deletion_due_at:  # a grace period can only be shortened
            self._set_pod(
                sim,
                replace(pod, deleting=True, deletion_due_at=due_at, deletion_grace_seconds=int(allowed_seconds)),
            )
        if pod.ended or not pod.node or grace_seconds == 0:
            self._later(0, self._drop_pod, sim)
            return
        if sim.node_lost:
            return
        wanted_seconds = sim.script.grace_seconds
        code = sim.script.term_code if wanted_seconds <= allowed_seconds else KILLED_CODE
        self._timeline.after(min(wanted_seconds, allowed_seconds), lambda: self._stopped(sim, code))

    def emit(self, sim: Simulated, *, reason: str, message: str, about_pod: bool = True) -> None:
        """Say something about the pod of a cluster job (when there is one), or about the Job."""
        if about_pod and sim.pod is None:
            return
        self._version += 1
        at = self._timeline.clock.now()
        facts = EventFacts(
            uid=f"event-{self._version}",
            resource_version=self._version,
            object_kind="Pod" if about_pod else "Job",
            object_name=sim.pod.name if about_pod and sim.pod else sim.job.cluster_name,
            object_uid=sim.pod.uid if about_pod and sim.pod else sim.facts.uid,
            reason=reason,
            message=message,
            first_at=at,
            last_at=at,
        )
        self.event_feed.publish(SeenEvent(job_id=sim.job.job_id, attempt=sim.job.attempt, facts=facts))

    def end(self, sim: Simulated, script: Script) -> None:
        """Let a running container end now, as `script` has it."""
        pod = sim.pod
        if pod is not None and pod.phase == "Running" and not pod.deleting:
            self._set_pod(sim, pods.finished(pod, script, at=self._timeline.clock.now()))
            self._later(self._random.uniform(0, self._condition_lag_seconds), self._meet_criteria, sim)

    # -- what controllers and kubelets do ----------------------------------------------------------------------------

    def _create_pod(self, sim: Simulated) -> None:
        if not sim.wanted:
            return
        now = self._timeline.clock.now()
        self._set_job(sim, replace(sim.facts, started_at=now))
        if sim.script.mode == "nopod":
            self.emit(sim, reason="FailedCreate", message=pods.REFUSED_MESSAGE, about_pod=False)
            return
        uid = self._uid()
        name = f"{sim.job.cluster_name}-{uid[:5]}"
        pod = PodFacts(uid=uid, name=name, job_uid=sim.facts.uid, created_at=now, phase="Pending")
        self.by_pod[sim.job.namespace, name] = self.by_pod_uid[uid] = sim
        self._set_pod(sim, pod)
        self._later(self._step_seconds, self._schedule, sim)

    def _schedule(self, sim: Simulated) -> None:
        pod, script = sim.pod, sim.script
        if pod is None or pod.gone or pod.deleting:
            return
        now = self._timeline.clock.now()
        if script.mode == "unschedulable":
            self._set_pod(sim, pods.unschedulable(pod, at=now))
            self.emit(sim, reason="FailedScheduling", message=pods.UNSCHEDULABLE_MESSAGE)
            return
        self._set_pod(sim, pods.scheduled(pod, at=now))
        if script.event:
            reason, _, text = script.event.partition(": ")
            self.emit(sim, reason=reason, message=text)
        if script.mode == "starterror":
            self._later(script.start_seconds, self._refuse, sim)
        elif script.mode in ("ok", "evicted"):
            self._later(script.start_seconds, self._start, sim)
        else:
            self._later(self._step_seconds, self._wait, sim)

    def _wait(self, sim: Simulated) -> None:
        pod, script = sim.pod, sim.script
        if pod is None or pod.gone or pod.deleting:
            return
        if script.mode == "configerror":
            self._set_pod(
                sim, pods.waiting(pod, reason="CreateContainerConfigError", message='secret "nope" not found')
            )
        elif script.mode == "waiting":
            self._set_pod(sim, pods.waiting(pod, reason=script.waiting_reason, message=script.waiting_message))
        elif script.mode == "imagepull":
            image = sim.job.spec.image
            text = f"failed to pull image {image}: {script.image_error}"
            self._set_pod(sim, pods.waiting(pod, reason="ErrImagePull", message=text))
            self.emit(sim, reason="Failed", message=text)
            self._later(PULL_BACKOFF_SECONDS, self._back_off, sim)
        else:
            self._set_pod(sim, pods.waiting(pod, reason="ContainerCreating"))

    def _back_off(self, sim: Simulated) -> None:
        pod = sim.pod
        if pod is not None and pod.phase == "Pending" and not pod.deleting and not pod.gone:
            text = f'Back-off pulling image "{sim.job.spec.image}": ErrImagePull: {sim.script.image_error}'
            self._set_pod(sim, pods.waiting(pod, reason="ImagePullBackOff", message=text))

    def _start(self, sim: Simulated) -> None:
        pod, script = sim.pod, sim.script
        if pod is None or pod.gone or pod.deleting:
            return
        self._history.started(sim.job)
        if script.log:
            sim.output.write(script.log, at=self._timeline.clock.now())
        self._set_pod(sim, pods.running(pod, at=self._timeline.clock.now()))
        if script.run_seconds is not None:
            self._later(script.run_seconds, lambda sim: self.end(sim, script), sim)

    def _refuse(self, sim: Simulated) -> None:
        pod = sim.pod
        if pod is None or pod.gone or pod.deleting:
            return
        program = (*sim.job.spec.command, *sim.job.spec.args, "main")[0]
        text = f'exec: "{program}": executable file not found in $PATH'
        at = self._timeline.clock.now()
        self._set_pod(sim, pods.terminated(pod, code=128, reason="StartError", message=text, at=at))
        self._later(self._random.uniform(0, self._condition_lag_seconds), self._meet_criteria, sim)

    def _stopped(self, sim: Simulated, code: int) -> None:
        pod = sim.pod
        if pod is None or pod.gone:
            return
        if not pod.ended:
            self._set_pod(sim, pods.stopped(pod, code=code, at=self._timeline.clock.now()))
        self._later(0, self._drop_pod, sim)

    def _meet_criteria(self, sim: Simulated) -> None:
        if sim.wanted and not sim.facts.conditions and sim.pod is not None:
            succeeded = sim.pod.phase == "Succeeded"
            self._set_job(sim, pods.criteria_met(sim.facts, succeeded=succeeded, at=self._timeline.clock.now()))
            self._later(_CONDITION_GAP_SECONDS, self._conclude, sim)

    def _conclude(self, sim: Simulated) -> None:
        if sim.wanted and len(sim.facts.conditions) == 1:
            self._set_job(sim, pods.concluded(sim.facts, at=self._timeline.clock.now()))

    def _drop_pod(self, sim: Simulated) -> None:
        if sim.pod is None or sim.pod.gone:
            return
        self._set_pod(sim, replace(sim.pod, gone=True))
        self._later(0, self._collect, sim)
        if sim.wanted:  # somebody removed the pod alone: with backoffLimit 0 that fails the Job
            self._later(self._random.uniform(0, self._condition_lag_seconds), self._meet_criteria, sim)

    def _collect(self, sim: Simulated) -> None:
        """Remove a Job that waits for its pod no longer, and forget what is entirely gone."""
        if sim.pod is not None and not sim.pod.gone:
            return
        if sim.facts.deleting and not sim.facts.gone:
            self._drop_job(sim)
        if sim.facts.gone and self.by_uid.pop(sim.facts.uid, None) is not None:
            self._history.ended(sim.job, sim.facts.uid)
            if sim.pod is not None:
                del self.by_pod[sim.job.namespace, sim.pod.name]
                del self.by_pod_uid[sim.pod.uid]

    # -- small things ------------------------------------------------------------------------------------------------

    def _later(self, seconds: float, step: Callable[[Simulated], None], sim: Simulated) -> None:
        self._timeline.after(seconds, lambda: step(sim))

    def _uid(self) -> str:
        return str(uuid.UUID(int=self._random.getrandbits(128), version=4))

    def _drop_job(self, sim: Simulated) -> None:
        self._version += 1
        sim.facts = replace(sim.facts, resource_version=self._version, gone=True)
        del self.by_name[sim.job.namespace, sim.job.cluster_name]
        self.job_feed.publish(gone(self._seen_job(sim)))

    def _set_job(self, sim: Simulated, facts: JobFacts) -> None:
        self._version += 1
        sim.facts = replace(facts, resource_version=self._version)
        self.job_feed.publish(self._seen_job(sim))

    def _set_pod(self, sim: Simulated, pod: PodFacts) -> None:
        self._version += 1
        sim.pod = replace(pod, resource_version=self._version)
        sim.changed.set()
        self.pod_feed.publish(SeenPod(job_id=sim.job.job_id, attempt=sim.job.attempt, facts=sim.pod))

    def _seen_job(self, sim: Simulated) -> SeenJob:
        return SeenJob(job_id=sim.job.job_id, attempt=sim.job.attempt, facts=sim.facts)
