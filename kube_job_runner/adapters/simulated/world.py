"""The life of simulated Jobs and pods: the steps of the Job controller, the scheduler and a kubelet, in their order.

Every step is planned on the schedule. When its time comes, it looks at its object again, as controllers do, because the
object may have been deleted or ended in between.
"""

import random
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta

from msgspec.structs import replace

from kube_job_runner.adapters.inprocess import pod_states
from kube_job_runner.adapters.inprocess.feeds import EventFeed, gone
from kube_job_runner.adapters.simulated import pods
from kube_job_runner.adapters.simulated.faults import FaultyFeed
from kube_job_runner.adapters.simulated.history import History
from kube_job_runner.adapters.simulated.script import Script
from kube_job_runner.adapters.simulated.simulated_job import SimulatedJob
from kube_job_runner.adapters.simulated.simulated_time import Schedule
from kube_job_runner.domain.facts import EventFacts, JobFacts, PodFacts
from kube_job_runner.ports import ClusterJob, SeenEvent, SeenJob, SeenPod

PULL_BACKOFF_SECONDS = 2.0
_CONDITION_GAP_SECONDS = 0.01
KILLED_CODE = 137


class World:
    """All simulated cluster jobs by uid, including those of which only a pod is left."""

    def __init__(
        self, schedule: Schedule, history: History, *, seed: int, condition_lag_seconds: float, step_seconds: float
    ) -> None:
        self.by_uid: dict[str, SimulatedJob] = {}
        self.by_name: dict[tuple[str, str], SimulatedJob | None] = {}  # None: a foreign object has the name
        self.by_pod: dict[tuple[str, str], SimulatedJob] = {}
        self.by_pod_uid: dict[str, SimulatedJob] = {}
        self.job_feed = FaultyFeed[SeenJob](schedule)
        self.pod_feed = FaultyFeed[SeenPod](schedule)
        self.event_feed = EventFeed()
        self._schedule = schedule
        self._history = history
        self._random = random.Random(seed)  # noqa: S311 - a seed is the point
        self._condition_lag_seconds = condition_lag_seconds
        self._step_seconds = step_seconds
        self._version = 0

    # -- the API server ----------------------------------------------------------------------------------------------

    def add(self, job: ClusterJob, script: Script, *, installation: str = "") -> SimulatedJob:
        """Store a new Job. Its controller sees it a step later."""
        self._version += 1
        facts = JobFacts(uid=self._uid(), resource_version=self._version, created_at=self._now())
        sim = SimulatedJob(job, script, facts, installation=installation)
        self.by_uid[facts.uid] = self.by_name[job.namespace, job.cluster_name] = sim
        self._history.created(job, facts.uid)
        self.job_feed.publish(self._seen_job(sim))
        self._later(0, self._create_pod, sim)
        return sim

    def remove(self, sim: SimulatedJob, *, foreground: bool) -> None:
        """Delete a Job. In the foreground it stays until its pod is gone; otherwise it is gone at once."""
        if foreground:
            if sim.wanted:
                self._set_job(sim, replace(sim.facts, deleting=True))
        elif not sim.facts.gone:
            self._drop_job(sim)
        if sim.pod is None or sim.pod.gone:
            self._later(0, self._collect, sim)
        else:
            self.remove_pod(sim)

    def remove_pod(self, sim: SimulatedJob, *, grace_seconds: int | None = None) -> None:
        """Delete a pod. It ends within its grace period and is gone then. With 0 it is gone without its node."""
        pod = sim.pod
        if pod is None or pod.gone or (pod.deleting and grace_seconds is None):
            return
        allowed_seconds = float(sim.job.spec.stop_grace_seconds if grace_seconds is None else grace_seconds)
        due_at = self._now() + timedelta(seconds=allowed_seconds)
        if pod.deletion_due_at is None or due_at < pod.deletion_due_at:  # a grace period can only be shortened
            self._set_pod(
                sim, replace(pod, deleting=True, deletion_due_at=due_at, deletion_grace_seconds=int(allowed_seconds))
            )
        if pod.ended or not pod.node or grace_seconds == 0:
            self._later(0, self._drop_pod, sim)
            return
        if sim.node_lost:
            return
        wanted_seconds = sim.script.grace_seconds
        code = sim.script.term_code if wanted_seconds <= allowed_seconds else KILLED_CODE
        self._schedule.after(min(wanted_seconds, allowed_seconds), lambda: self._stopped(sim, code))

    def emit(self, sim: SimulatedJob, *, reason: str, message: str, about_pod: bool = True) -> None:
        """Publish an Event about the pod of a cluster job, if it has one, or about the Job."""
        if about_pod and sim.pod is None:
            return
        self._version += 1
        at = self._now()
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

    def end(self, sim: SimulatedJob, script: Script) -> None:
        """End a running container now, as `script` says."""
        pod = sim.pod
        if pod is not None and pod.phase == "Running" and not pod.deleting:
            self._set_pod(sim, pods.finished(pod, script, at=self._now()))
            self._meet_criteria_soon(sim)

    # -- controllers and kubelets ------------------------------------------------------------------------------------

    def _create_pod(self, sim: SimulatedJob) -> None:
        if not sim.wanted:
            return
        now = self._now()
        self._set_job(sim, replace(sim.facts, started_at=now))
        if sim.script.mode == "nopod":
            self.emit(sim, reason="FailedCreate", message=pods.REFUSED_MESSAGE, about_pod=False)
            return
        uid = self._uid()
        name = f"{sim.job.cluster_name}-{uid[:5]}"
        pod = PodFacts(uid=uid, name=name, job_uid=sim.facts.uid, created_at=now, phase="Pending")
        self.by_pod[sim.job.namespace, name] = self.by_pod_uid[uid] = sim
        self._set_pod(sim, pod)
        self._later(self._step_seconds, self._assign_node, sim)

    def _assign_node(self, sim: SimulatedJob) -> None:
        pod, script = sim.pod, sim.script
        if pod is None or pod.gone or pod.deleting:
            return
        now = self._now()
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

    def _wait(self, sim: SimulatedJob) -> None:
        pod, script = sim.pod, sim.script
        if pod is None or pod.gone or pod.deleting:
            return
        if script.mode == "configerror":
            self._set_pod(
                sim, pod_states.waiting(pod, reason="CreateContainerConfigError", message='secret "nope" not found')
            )
        elif script.mode == "waiting":
            self._set_pod(sim, pod_states.waiting(pod, reason=script.waiting_reason, message=script.waiting_message))
        elif script.mode == "imagepull":
            image = sim.job.spec.image
            text = f"failed to pull image {image}: {script.image_error}"
            self._set_pod(sim, pod_states.waiting(pod, reason="ErrImagePull", message=text))
            self.emit(sim, reason="Failed", message=text)
            self._later(PULL_BACKOFF_SECONDS, self._back_off, sim)
        else:
            self._set_pod(sim, pod_states.waiting(pod, reason="ContainerCreating"))

    def _back_off(self, sim: SimulatedJob) -> None:
        pod = sim.pod
        if pod is not None and pod.phase == "Pending" and not pod.deleting and not pod.gone:
            text = f'Back-off pulling image "{sim.job.spec.image}": ErrImagePull: {sim.script.image_error}'
            self._set_pod(sim, pod_states.waiting(pod, reason="ImagePullBackOff", message=text))

    def _start(self, sim: SimulatedJob) -> None:
        pod, script = sim.pod, sim.script
        if pod is None or pod.gone or pod.deleting:
            return
        self._history.started(sim.job)
        if script.log:
            sim.output.write(script.log, at=self._now())
        self._set_pod(sim, pod_states.running(pod, at=self._now()))
        if script.run_seconds is not None:
            self._later(script.run_seconds, lambda sim: self.end(sim, script), sim)

    def _refuse(self, sim: SimulatedJob) -> None:
        pod = sim.pod
        if pod is None or pod.gone or pod.deleting:
            return
        program = (*sim.job.spec.command, *sim.job.spec.args, "main")[0]
        text = f'exec: "{program}": executable file not found in $PATH'
        at = self._now()
        self._set_pod(sim, pod_states.terminated(pod, code=128, reason="StartError", message=text, at=at))
        self._meet_criteria_soon(sim)

    def _stopped(self, sim: SimulatedJob, code: int) -> None:
        pod = sim.pod
        if pod is None or pod.gone:
            return
        if not pod.ended:
            self._set_pod(sim, pods.stopped(pod, code=code, at=self._now()))
        self._later(0, self._drop_pod, sim)

    def _meet_criteria_soon(self, sim: SimulatedJob) -> None:
        self._later(self._random.uniform(0, self._condition_lag_seconds), self._meet_criteria, sim)

    def _meet_criteria(self, sim: SimulatedJob) -> None:
        if sim.wanted and not sim.facts.conditions and sim.pod is not None:
            succeeded = sim.pod.phase == "Succeeded"
            self._set_job(sim, pods.criteria_met(sim.facts, succeeded=succeeded, at=self._now()))
            self._later(_CONDITION_GAP_SECONDS, self._conclude, sim)

    def _conclude(self, sim: SimulatedJob) -> None:
        if sim.wanted and len(sim.facts.conditions) == 1:
            self._set_job(sim, pods.concluded(sim.facts, at=self._now()))

    def _drop_pod(self, sim: SimulatedJob) -> None:
        if sim.pod is None or sim.pod.gone:
            return
        self._set_pod(sim, replace(sim.pod, gone=True))
        self._later(0, self._collect, sim)
        if sim.wanted:  # only the pod was removed: with backoffLimit 0 that fails the Job
            self._meet_criteria_soon(sim)

    def _collect(self, sim: SimulatedJob) -> None:
        """Remove a Job that has waited for its pod, and forget a cluster job of which nothing is left."""
        if sim.pod is not None and not sim.pod.gone:
            return
        if sim.facts.deleting and not sim.facts.gone:
            self._drop_job(sim)
        if sim.facts.gone and self.by_uid.pop(sim.facts.uid, None) is not None:
            self._history.ended(sim.job, sim.facts.uid)
            if sim.pod is not None:
                del self.by_pod[sim.job.namespace, sim.pod.name]
                del self.by_pod_uid[sim.pod.uid]

    # -- helpers -----------------------------------------------------------------------------------------------------

    def _now(self) -> datetime:
        return self._schedule.clock.now()

    def _later(self, seconds: float, step: Callable[[SimulatedJob], None], sim: SimulatedJob) -> None:
        self._schedule.after(seconds, lambda: step(sim))

    def _uid(self) -> str:
        return str(uuid.UUID(int=self._random.getrandbits(128), version=4))

    def _drop_job(self, sim: SimulatedJob) -> None:
        self._version += 1
        sim.facts = replace(sim.facts, resource_version=self._version, gone=True)
        del self.by_name[sim.job.namespace, sim.job.cluster_name]
        self.job_feed.publish(gone(self._seen_job(sim)))

    def _set_job(self, sim: SimulatedJob, facts: JobFacts) -> None:
        self._version += 1
        sim.facts = replace(facts, resource_version=self._version)
        self.job_feed.publish(self._seen_job(sim))

    def _set_pod(self, sim: SimulatedJob, pod: PodFacts) -> None:
        self._version += 1
        sim.pod = replace(pod, resource_version=self._version)
        sim.changed.set()
        self.pod_feed.publish(SeenPod(job_id=sim.job.job_id, attempt=sim.job.attempt, facts=sim.pod))

    def _seen_job(self, sim: SimulatedJob) -> SeenJob:
        return SeenJob(job_id=sim.job.job_id, attempt=sim.job.attempt, facts=sim.facts)
