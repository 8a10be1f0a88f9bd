"""One simulated cluster job: its Job, its pod if it has one, and the log of its container."""

import asyncio

from msgspec.structs import replace

from kube_job_runner.adapters.inprocess.captured_output import Output
from kube_job_runner.adapters.simulated.script import Script
from kube_job_runner.domain.facts import JobFacts, PodFacts
from kube_job_runner.ports import ClusterJob, OwnedObject


class SimulatedJob:
    """The state of one cluster job."""

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
        """Whether the Job exists and is not being deleted."""
        return not self.facts.gone and not self.facts.deleting

    def owned_job(self) -> OwnedObject:
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
        pod = self.pod
        if pod is None or pod.gone:
            return None
        owned = replace(self.owned_job(), kind="Pod", name=pod.name, uid=pod.uid, owner_uid=pod.job_uid)
        return replace(owned, created_at=pod.created_at, deleting=pod.deleting)
